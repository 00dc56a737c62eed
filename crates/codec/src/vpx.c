/* Between Rust and libvpx: keeps libvpx's structures, whose layout changes between releases, out of Rust. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

/* The encoder counts bits by this clock and not by the true one: with true times it saves up during pauses, sends a few
 * huge frames, and the frame rate of a slow link collapses. */
#define TICK 33

struct encoder {
    vpx_codec_ctx_t codec;
    vpx_codec_enc_cfg_t config;
    vpx_codec_pts_t clock;
};

/* Looks for less where there are bits enough: a third of the time less, at the same size. Where bits are scarce that would
 * cost a slow link half of its frames. */
static int set_speed(struct encoder *self) {
    const vpx_codec_enc_cfg_t *config = &self->config;
    int is_ample = config->rc_target_bitrate * 1000.0 >= 2.0 * config->g_w * config->g_h;
    return vpx_codec_control(&self->codec, VP8E_SET_CPUUSED, is_ample ? -16 : -12) == VPX_CODEC_OK;
}

struct encoder *berth_vp8_open(unsigned width, unsigned height, unsigned kbps) {
    struct encoder *self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    vpx_codec_enc_cfg_t *config = &self->config;
    if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), config, 0) != VPX_CODEC_OK) goto failed;
    config->g_w = width;
    config->g_h = height;
    config->g_timebase.num = 1;
    config->g_timebase.den = 1000;
    config->g_threads = 1;
    config->g_lag_in_frames = 0;
    config->kf_mode = VPX_KF_DISABLED;
    config->rc_end_usage = VPX_CBR;
    config->rc_target_bitrate = kbps;
    config->rc_min_quantizer = 8;
    config->rc_max_quantizer = 58;
    config->rc_undershoot_pct = 100;
    config->rc_overshoot_pct = 15;
    config->rc_buf_sz = 500;
    config->rc_buf_initial_sz = 250;
    config->rc_buf_optimal_sz = 350;
    if (vpx_codec_enc_init(&self->codec, vpx_codec_vp8_cx(), config, 0) != VPX_CODEC_OK) goto failed;
    if (!set_speed(self) ||
        vpx_codec_control(&self->codec, VP8E_SET_STATIC_THRESHOLD, 100u) != VPX_CODEC_OK ||
        vpx_codec_control(&self->codec, VP8E_SET_MAX_INTRA_BITRATE_PCT, 400u) != VPX_CODEC_OK) {
        vpx_codec_destroy(&self->codec);
        goto failed;
    }
    return self;
failed:
    free(self);
    return NULL;
}

void berth_vp8_close(struct encoder *self) {
    vpx_codec_destroy(&self->codec);
    free(self);
}

int berth_vp8_set_bitrate(struct encoder *self, unsigned kbps) {
    self->config.rc_target_bitrate = kbps;
    return vpx_codec_enc_config_set(&self->codec, &self->config) == VPX_CODEC_OK && set_speed(self);
}

/* Encodes one picture. The packet belongs to the encoder and lives until its next call. */
int berth_vp8_encode(struct encoder *self, const uint8_t *y, const uint8_t *u, const uint8_t *v, int key,
                     const uint8_t **packet, size_t *length, int *is_key) {
    unsigned width = self->config.g_w, height = self->config.g_h;
    vpx_image_t image;
    /* libvpx only reads; its type is older than const. */
    if (vpx_img_wrap(&image, VPX_IMG_FMT_I420, width, height, 1, (unsigned char *)y) == NULL) return 0;
    image.planes[VPX_PLANE_U] = (unsigned char *)u;
    image.planes[VPX_PLANE_V] = (unsigned char *)v;
    image.stride[VPX_PLANE_Y] = (int)width;
    image.stride[VPX_PLANE_U] = image.stride[VPX_PLANE_V] = (int)((width + 1) / 2);
    vpx_enc_frame_flags_t flags = key ? VPX_EFLAG_FORCE_KF : 0;
    self->clock += TICK;
    if (vpx_codec_encode(&self->codec, &image, self->clock, TICK, flags, VPX_DL_REALTIME) != VPX_CODEC_OK) return 0;
    vpx_codec_iter_t next = NULL;
    const vpx_codec_cx_pkt_t *found;
    while ((found = vpx_codec_get_cx_data(&self->codec, &next)) != NULL) {
        if (found->kind != VPX_CODEC_CX_FRAME_PKT) continue;
        *packet = found->data.frame.buf;
        *length = found->data.frame.sz;
        *is_key = (found->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
        return 1;
    }
    /* The rate control may drop a picture. */
    *packet = NULL;
    *length = 0;
    *is_key = 0;
    return 1;
}

struct decoder {
    vpx_codec_ctx_t codec;
};

struct decoder *berth_vp8_open_decoder(void) {
    struct decoder *self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    if (vpx_codec_dec_init(&self->codec, vpx_codec_vp8_dx(), NULL, 0) != VPX_CODEC_OK) {
        free(self);
        return NULL;
    }
    return self;
}

void berth_vp8_close_decoder(struct decoder *self) {
    vpx_codec_destroy(&self->codec);
    free(self);
}

/* Decodes one packet into planes of the size that the caller gives; a picture of another size is refused. */
int berth_vp8_decode(struct decoder *self, const uint8_t *packet, unsigned length, unsigned width, unsigned height,
                     uint8_t *y, uint8_t *u, uint8_t *v) {
    if (vpx_codec_decode(&self->codec, packet, length, NULL, 0) != VPX_CODEC_OK) return 0;
    vpx_codec_iter_t next = NULL;
    vpx_image_t *image = vpx_codec_get_frame(&self->codec, &next);
    if (image == NULL || image->fmt != VPX_IMG_FMT_I420 || image->d_w != width || image->d_h != height) return 0;
    uint8_t *to[3] = {y, u, v};
    for (int plane = 0; plane < 3; plane++) {
        unsigned columns = plane == 0 ? width : (width + 1) / 2, rows = plane == 0 ? height : (height + 1) / 2;
        for (unsigned row = 0; row < rows; row++) {
            const uint8_t *from = image->planes[plane] + (ptrdiff_t)row * image->stride[plane];
            for (unsigned column = 0; column < columns; column++) to[plane][row * columns + column] = from[column];
        }
    }
    return 1;
}
