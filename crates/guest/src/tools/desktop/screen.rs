//! `get_screen_size`, `screenshot` and `system_screenshot`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_codec::{CodecError, Jpeg};
use berth_guest_api::ToolResult;
use berth_screen::Snapshot;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::{Spec, Tool, ToolError};
use super::SERVER;
use super::mouse::NoArgs;
use crate::computer::ComputerError;
use crate::guest::Guest;

/// Of a JPEG, of 100: text stays readable.
const QUALITY: u8 = 85;

type Encode = fn(&Snapshot) -> Result<Vec<u8>, ComputerError>;

pub(in super::super) struct GetScreenSize;

impl Tool for GetScreenSize {
    const SPEC: Spec = Spec {
        name: "get_screen_size",
        server: SERVER,
        description: "Tells the screen's width and height in pixels, as JSON.",
    };
    type Args = NoArgs;

    async fn run(_: NoArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let (width, height) = guest.computer.look(&guest, |looker| looker.size()).await?;
        let text = json!({ "width": width, "height": height, "dpiScalingFactor": 1.0 });
        Ok(ToolResult::text(text.to_string()))
    }
}

pub(in super::super) struct Screenshot;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ScreenshotArgs {
    /// `png` (default) or `jpeg`.
    #[schemars(extend("enum" = ["png", "jpeg"]))]
    format: Option<String>,
}

impl Tool for Screenshot {
    const SPEC: Spec = Spec {
        name: "screenshot",
        server: SERVER,
        description: "Takes a picture of the screen with the pointer, as PNG or JPEG in base64.",
    };
    type Args = ScreenshotArgs;

    async fn run(args: ScreenshotArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let format = args.format.unwrap_or_else(|| "png".into());
        let (mime, encode): (_, Encode) = match format.trim() {
            "png" => ("image/png", png),
            "jpeg" | "jpg" => ("image/jpeg", jpeg),
            other => {
                return Err(ToolError::Field {
                    field: "format",
                    got: format!("`{other}`"),
                    allowed: "`png`, `jpeg`",
                });
            }
        };
        let Picture { width, height, bytes } = take(&guest, encode).await?;
        let data = STANDARD.encode(bytes);
        let text = json!({ "type": "screenshot", "mime_type": mime, "data": data, "width": width, "height": height });
        Ok(ToolResult::text(text.to_string()))
    }
}

pub(in super::super) struct SystemScreenshot;

impl Tool for SystemScreenshot {
    const SPEC: Spec = Spec {
        name: "system_screenshot",
        server: SERVER,
        description: "Takes a picture of the screen with the pointer, and returns a URL that answers with it as PNG for \
                      10 minutes, to whoever has it. The last 8 pictures are kept.",
    };
    type Args = NoArgs;

    async fn run(_: NoArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let url = guest.pictures_url.clone().ok_or(ComputerError::NoAddress)?;
        let picture = take(&guest, png).await?;
        let id = guest.pictures.keep(picture.bytes.into());
        let id = id.ok_or_else(|| ComputerError::Picture("it is too large".into()))?;
        Ok(ToolResult::text(format!("{url}{id}")))
    }
}

/// A picture of the screen, encoded.
struct Picture {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

async fn take(guest: &Guest, encode: Encode) -> Result<Picture, ComputerError> {
    let snapshot = guest.computer.look(guest, |looker| looker.snapshot()).await?;
    let (width, height) = (snapshot.width, snapshot.height);
    let encoded = tokio::task::spawn_blocking(move || encode(&snapshot)).await;
    Ok(Picture {
        width,
        height,
        bytes: encoded.map_err(|_| ComputerError::Lost)??,
    })
}

fn png(snapshot: &Snapshot) -> Result<Vec<u8>, ComputerError> {
    let failed = |error: png::EncodingError| ComputerError::Picture(error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, snapshot.width, snapshot.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&snapshot.rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn jpeg(snapshot: &Snapshot) -> Result<Vec<u8>, ComputerError> {
    let failed = |error: CodecError| ComputerError::Picture(error.to_string());
    let (width, height) = (snapshot.width as usize, snapshot.height as usize);
    let colours = snapshot.rgb.chunks_exact(3);
    let pixels: Vec<u32> = colours
        .map(|rgb| u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]]))
        .collect();
    let mut jpeg = Jpeg::new().map_err(failed)?;
    let bytes = jpeg
        .encode(&pixels, width, height, width, QUALITY)
        .map_err(failed)?;
    Ok(bytes.to_vec())
}
