//! Pictures as video codecs take them: a full plane of brightness, two of colour at half the resolution.
//!
//! BT.601 in the limited range, which is what browsers assume of VP8.

#![expect(unsafe_code, reason = "calls what is compiled for processors with AVX2")]

/// A picture in three planes. Sides may be odd; colour planes are rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I420 {
    width: usize,
    height: usize,
    pub(crate) y: Vec<u8>,
    pub(crate) u: Vec<u8>,
    pub(crate) v: Vec<u8>,
}

impl I420 {
    /// A black picture.
    pub fn black(width: usize, height: usize) -> Self {
        let colour = width.div_ceil(2) * height.div_ceil(2);
        Self {
            width,
            height,
            y: vec![16; width * height],
            u: vec![128; colour],
            v: vec![128; colour],
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Takes over the pixels (`0x00RRGGBB`) of columns `x0..x1` and rows `y0..y1`, enlarged to even columns and rows.
    /// `row` gives whole rows of the picture.
    pub fn convert<'a>(
        &mut self,
        (x0, y0): (usize, usize),
        (x1, y1): (usize, usize),
        row: impl Fn(usize) -> &'a [u32],
    ) {
        let (x0, y0) = (x0 & !1, y0 & !1);
        let (x1, y1) = (((x1 + 1) & !1).min(self.width), ((y1 + 1) & !1).min(self.height));
        if x0 >= x1 {
            return;
        }
        let colour_width = self.width.div_ceil(2);
        for y in (y0..y1).step_by(2) {
            let above = &row(y)[x0..x1];
            // The last of an odd number of rows stands for two.
            let below = if y + 1 < y1 { &row(y + 1)[x0..x1] } else { above };
            let (upper, lower) = self.y[y * self.width..].split_at_mut(self.width);
            let lower = if y + 1 < y1 { &mut lower[x0..x1] } else { &mut [] };
            let at = y / 2 * colour_width + x0 / 2;
            let length = (x1 - x0).div_ceil(2);
            let (u, v) = (&mut self.u[at..][..length], &mut self.v[at..][..length]);
            two_rows(above, below, [&mut upper[x0..x1], lower], u, v);
        }
    }

    /// The pixels (`0x00RRGGBB`) of row `y`.
    pub fn row(&self, y: usize, pixels: &mut [u32]) {
        let colour_row = y / 2 * self.width.div_ceil(2);
        for (x, pixel) in pixels.iter_mut().enumerate().take(self.width) {
            let luma = 298 * (i32::from(self.y[y * self.width + x]) - 16);
            let u = i32::from(self.u[colour_row + x / 2]) - 128;
            let v = i32::from(self.v[colour_row + x / 2]) - 128;
            let channel = |n: i32| ((n + 128) >> 8).clamp(0, 255) as u32;
            *pixel = channel(luma + 409 * v) << 16
                | channel(luma - 100 * u - 208 * v) << 8
                | channel(luma + 516 * u);
        }
    }
}

fn channels(pixel: u32) -> (i32, i32, i32) {
    (
        (pixel >> 16 & 255) as i32,
        (pixel >> 8 & 255) as i32,
        (pixel & 255) as i32,
    )
}

/// Converts two rows, with wider registers where the processor has them: twice as fast.
fn two_rows(above: &[u32], below: &[u32], y: [&mut [u8]; 2], u: &mut [u8], v: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for beyond its arguments.
        return unsafe { two_rows_avx2(above, below, y, u, v) };
    }
    convert_two_rows(above, below, y, u, v);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn two_rows_avx2(above: &[u32], below: &[u32], y: [&mut [u8]; 2], u: &mut [u8], v: &mut [u8]) {
    convert_two_rows(above, below, y, u, v);
}

#[inline(always)]
fn convert_two_rows(above: &[u32], below: &[u32], y: [&mut [u8]; 2], u: &mut [u8], v: &mut [u8]) {
    let [upper, lower] = y;
    brightness(above, upper);
    brightness(below, lower);
    colour(above, below, u, v);
}

#[inline(always)]
fn brightness(pixels: &[u32], y: &mut [u8]) {
    for (pixel, y) in pixels.iter().zip(y) {
        let (r, g, b) = channels(*pixel);
        *y = ((66 * r + 129 * g + 25 * b + 128 + (16 << 8)) >> 8) as u8;
    }
}

#[inline(always)]
fn colour(above: &[u32], below: &[u32], u: &mut [u8], v: &mut [u8]) {
    let (above, odd_above) = above.as_chunks();
    let (below, odd_below) = below.as_chunks();
    let planes = u.iter_mut().zip(v.iter_mut());
    for (([a, b], [c, d]), (u, v)) in above.iter().zip(below).zip(planes) {
        (*u, *v) = colour_of([*a, *b, *c, *d]);
    }
    // The last of an odd number of columns stands for two.
    if let ([a], [c], Some(u), Some(v)) = (odd_above, odd_below, u.last_mut(), v.last_mut()) {
        (*u, *v) = colour_of([*a, *a, *c, *c]);
    }
}

#[inline(always)]
fn colour_of(four: [u32; 4]) -> (u8, u8) {
    // Red and blue are added up side by side: four of each fit sixteen bits.
    let red_blue: u32 = four.iter().map(|pixel| pixel & 0xFF_00FF).sum();
    let green: u32 = four.iter().map(|pixel| pixel >> 8 & 0xFF).sum();
    let (r, g, b) = ((red_blue >> 16) as i32, green as i32, (red_blue & 0xFFFF) as i32);
    let u = (-38 * r - 74 * g + 112 * b + 512 + (128 << 10)) >> 10;
    let v = (112 * r - 94 * g - 18 * b + 512 + (128 << 10)) >> 10;
    (u as u8, v as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_colour_survives_the_way_there_and_back(
            colour in 0u32..0x100_0000, width in 1usize..20, height in 1usize..20,
        ) {
            let mut picture = I420::black(width, height);
            let row = vec![colour; width];
            picture.convert((0, 0), (width, height), |_| &row);
            let mut back = vec![0; width];
            for y in 0..height {
                picture.row(y, &mut back);
                for pixel in &back {
                    let (a, b) = (channels(*pixel), channels(colour));
                    for (a, b) in [(a.0, b.0), (a.1, b.1), (a.2, b.2)] {
                        prop_assert!((a - b).abs() <= 4, "{pixel:06x} of {colour:06x}");
                    }
                }
            }
        }

        #[test]
        fn a_part_touches_nothing_else(
            x0 in 0usize..10, y0 in 0usize..10, width in 0usize..10, height in 0usize..10,
        ) {
            let (mut picture, black) = (I420::black(19, 17), I420::black(19, 17));
            let row = [0xFF_FFFF; 19];
            let (x1, y1) = ((x0 + width).min(19), (y0 + height).min(17));
            picture.convert((x0, y0), (x1, y1), |_| &row);
            for y in 0..17 {
                for x in 0..19 {
                    let inside = x >= x0 & !1 && x < x1 + 1 && y >= y0 & !1 && y < y1 + 1;
                    prop_assert!(inside || picture.y[y * 19 + x] == black.y[y * 19 + x]);
                }
            }
        }
    }
}
