/* Q6_K: ggml's quantisation of rows to 6 bits, sixteen sub-blocks side by side.
 *
 * The search over scales is ggml's own (quantize_row_q6_K_ref and make_qx_quants with rmse_type 1,
 * https://github.com/ggml-org/ggml, MIT), in the same order of float32 operations, so that the
 * bits are the same; only the sixteen sub-blocks of a block, which do not depend on each other, are
 * lanes here. Must be compiled without contraction of a * b + c and without reassociation.
 */

#include <stdint.h>
#include <string.h>

#define LANES 16       /* sub-blocks of a block */
#define WIDTH 16       /* values of a sub-block */
#define BLOCK 256      /* values of a block */
#define BLOCK_BYTES 210
#define STEPS 9        /* scales tried on each side */
#define NEGLIGIBLE 1e-15f
#define MAGIC 12582912.f /* adding it rounds to the nearest integer, ties to even */

typedef uint16_t (*to_half_fn)(float);
typedef float (*from_half_fn)(uint16_t);

static inline int nearest(float value) {
    float moved = value + MAGIC;
    int32_t bits;
    memcpy(&bits, &moved, sizeof bits);
    return (bits & 0x007fffff) - 0x00400000;
}

static inline int clamp(int level) { return level < -32 ? -32 : level > 31 ? 31 : level; }

/* The best scale of each lane, and the inverse scale that found it. x, w, w3: [WIDTH][LANES]. */
static void best_scales(const float *restrict x, const float *restrict w, const float *restrict w3,
                        float *restrict scale, float *restrict inverse) {
    float largest[LANES] = {0}, extreme[LANES] = {0}, best[LANES];
    for (int i = 0; i < WIDTH; ++i) {
        for (int k = 0; k < LANES; ++k) {
            float value = x[i * LANES + k], size = value < 0 ? -value : value;
            int more = size > largest[k];
            largest[k] = more ? size : largest[k];
            extreme[k] = more ? value : extreme[k];
        }
    }
    for (int step = -STEPS - 1; step <= STEPS; ++step) {
        /* first the plain scale, then all others in ggml's order */
        int first = step == -STEPS - 1;
        if (step == 0) continue;
        float top = first ? -32.f : -(32 + 0.1f * step);
        float sum_lx[LANES] = {0}, sum_l2[LANES] = {0}, tried[LANES];
        for (int k = 0; k < LANES; ++k) tried[k] = top / extreme[k];
        for (int i = 0; i < WIDTH; ++i) {
            for (int k = 0; k < LANES; ++k) {
                float level = (tried[k] * x[i * LANES + k] + MAGIC) - MAGIC;
                level = level < -32.f ? -32.f : level;
                level = level > 31.f ? 31.f : level;
                sum_lx[k] += w3[i * LANES + k] * level;
                sum_l2[k] += w[i * LANES + k] * level * level;
            }
        }
        for (int k = 0; k < LANES; ++k) {
            float ratio = sum_lx[k] / sum_l2[k];
            int better = first ? 1 : (sum_l2[k] > 0) & (sum_lx[k] * sum_lx[k] > best[k] * sum_l2[k]);
            ratio = first & !(sum_l2[k] != 0) ? 0.f : ratio;
            scale[k] = better ? ratio : scale[k];
            best[k] = better ? ratio * sum_lx[k] : best[k];
            inverse[k] = better ? tried[k] : inverse[k];
        }
    }
    for (int k = 0; k < LANES; ++k) {
        int nothing = largest[k] < NEGLIGIBLE;
        scale[k] = nothing ? 0.f : scale[k];
        inverse[k] = nothing ? 0.f : inverse[k];
    }
}

static void pack(const uint8_t *level, uint8_t *out) {
    uint8_t *low = out, *high = out + 128;
    for (int half = 0; half < 2; ++half, level += 128, low += 64, high += 32) {
        for (int i = 0; i < 32; ++i) {
            uint8_t a = level[i], b = level[i + 32], c = level[i + 64], d = level[i + 96];
            low[i] = (a & 15) | (c & 15) << 4;
            low[i + 32] = (b & 15) | (d & 15) << 4;
            high[i] = a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6;
        }
    }
}

static void one_block(const float *restrict values, uint8_t *restrict out, to_half_fn to_half,
                      from_half_fn from_half) {
    float x[BLOCK], w[BLOCK], w3[BLOCK], scale[LANES], inverse[LANES];
    for (int k = 0; k < LANES; ++k) {
        for (int i = 0; i < WIDTH; ++i) x[i * LANES + k] = values[k * WIDTH + i];
    }
    for (int i = 0; i < BLOCK; ++i) {
        w[i] = x[i] * x[i];
        w3[i] = w[i] * x[i];
    }
    best_scales(x, w, w3, scale, inverse);
    float largest = 0, extreme = 0;
    for (int k = 0; k < LANES; ++k) {
        float size = scale[k] < 0 ? -scale[k] : scale[k];
        if (size > largest) {
            largest = size;
            extreme = scale[k];
        }
    }
    memset(out, 0, BLOCK_BYTES);
    if (largest < NEGLIGIBLE) return;
    float across = -128.f / extreme;
    uint16_t unit = to_half(1 / across);
    float unit_back = from_half(unit);
    uint8_t level[BLOCK];
    for (int k = 0; k < LANES; ++k) {
        int rounded = nearest(across * scale[k]);
        int8_t kept = rounded > 127 ? 127 : rounded;
        out[192 + k] = (uint8_t)kept;
        float step = unit_back * kept;
        for (int i = 0; i < WIDTH; ++i) {
            float value = values[k * WIDTH + i];
            int found = nearest(step ? value / step : inverse[k] * value);
            level[k * WIDTH + i] = (uint8_t)(clamp(found) + 32);
        }
        /* ggml leaves the levels of an all but empty sub-block at 0, not in the middle */
        if (!step && inverse[k] == 0.f) memset(level + k * WIDTH, 0, WIDTH);
    }
    pack(level, out);
    memcpy(out + 208, &unit, sizeof unit);
}

void weighin_quantize_q6_k(const float *values, uint8_t *out, int64_t n_blocks, to_half_fn to_half,
                           from_half_fn from_half) {
    for (int64_t b = 0; b < n_blocks; ++b) {
        one_block(values + b * BLOCK, out + b * BLOCK_BYTES, to_half, from_half);
    }
}
