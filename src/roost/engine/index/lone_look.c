/* One query's look at a sketch: its rows in the order in which they seem near, and the distances of the first of them.

   `lone_look.py` describes the arguments and sees to it that they fit; nothing is checked here. All memory is the
   caller's, and any number of threads may call at once.

   Source: André, Kermarrec and Le Scouarnec 2015, "Cache locality is not enough: high-performance nearest neighbor
   search with product quantization fast scan". */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 32, LEVELS = 16, MAX_NUMBERS = 64 };
enum { MAX_LISTED = 2048, ROOM = 4 * MAX_LISTED };
enum { L2 = 0, INNER_PRODUCT = 1, COSINE = 2 };

typedef struct {
    int64_t n_rows, dim, n_axes, n_numbers, metric;
    const float *axes;     /* (n_axes, dim) */
    const float *mean;     /* (dim) */
    const float *moved;    /* (n_numbers), added to a query's numbers */
    const float *levels;   /* (n_numbers, LEVELS) */
    const uint8_t *blocks; /* (ceil(n_rows / BLOCK), n_numbers rounded up to even, BLOCK / 2) */
    const int64_t *rows;   /* (n_rows), which rows of the vectors these are; none where they are all of them */
    double rest;           /* a query is strange that lies farther from the axes */
    double shared;         /* of its way beyond the axes that is not */
} Sketch;

#ifndef ROOST_SOURCE
#define ROOST_SOURCE 0
#endif

/* The checksum of this file, as it was compiled. */
uint32_t roost_source(void) { return ROOST_SOURCE; }

/* Write codes, two numbers a byte, as blocks: byte j of a number holds row j of the block in its lower half, and row
   j + 16 in its upper one. */
void roost_pack(const uint8_t *codes, int64_t n_rows, int64_t n_numbers, uint8_t *blocks) {
    int64_t width = (n_numbers + 1) / 2, size = width * BLOCK;
    memset(blocks, 0, (size_t)((n_rows + BLOCK - 1) / BLOCK * size));
    for (int64_t row = 0; row < n_rows; row++) {
        const uint8_t *code = codes + row * width;
        uint8_t *block = blocks + row / BLOCK * size + row % (BLOCK / 2);
        int shift = row % BLOCK < BLOCK / 2 ? 0 : 4;
        for (int64_t i = 0; i < width; i++) {
            block[(2 * i) * (BLOCK / 2)] |= (uint8_t)((code[i] & 15) << shift);
            block[(2 * i + 1) * (BLOCK / 2)] |= (uint8_t)((code[i] >> 4) << shift);
        }
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define FAST __attribute__((target("avx2,fma")))

int roost_is_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

FAST static inline float sum_of(__m256 v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

FAST static float product(const float *a, const float *b, int64_t n) {
    __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int j = 0; j < 4; j++)
            sums[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), sums[j]);
    for (; i + 8 <= n; i += 8) sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sums[0]);
    float sum = sum_of(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

FAST static float squared_distance(const float *a, const float *b, int64_t n) {
    __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int j = 0; j < 4; j++) {
            __m256 d = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j));
            sums[j] = _mm256_fmadd_ps(d, d, sums[j]);
        }
    for (; i + 8 <= n; i += 8) {
        __m256 d = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        sums[0] = _mm256_fmadd_ps(d, d, sums[0]);
    }
    float sum = sum_of(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    for (; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* Give the numbers of a query; 0 where rows cannot be ordered by them. */
FAST static int turn(const Sketch *sketch, const float *query, float *numbers) {
    double along = 0;
    for (int64_t i = 0; i < sketch->n_axes; i++) {
        numbers[i] = product(sketch->axes + i * sketch->dim, query, sketch->dim) + sketch->moved[i];
        along += (double)numbers[i] * numbers[i];
    }
    if (sketch->metric == INNER_PRODUCT)
        return !((1 - sketch->rest * sketch->rest) * product(query, query, sketch->dim) > along);
    double beyond = squared_distance(query, sketch->mean, sketch->dim) - along;
    double rest = beyond > 0 ? sqrt(beyond) : 0;
    int is_strange = rest > sketch->rest;
    if (sketch->n_numbers == sketch->n_axes) return !is_strange;
    numbers[sketch->n_axes] = (float)(is_strange ? rest : sketch->shared * rest);
    return 1;
}

/* Fill the tables of a query, in steps of one size. Gives what all rows have in common, and the size of a step. */
static float tabulate(const Sketch *sketch, const float *numbers, uint8_t *tables, float *step) {
    float exact[MAX_NUMBERS][LEVELS], least[MAX_NUMBERS], common = 0, widest = 0;
    for (int64_t i = 0; i < sketch->n_numbers; i++) {
        float most = -INFINITY;
        least[i] = INFINITY;
        for (int j = 0; j < LEVELS; j++) {
            float level = sketch->levels[i * LEVELS + j], off = numbers[i] - level;
            float value = sketch->metric == INNER_PRODUCT ? -numbers[i] * level : off * off;
            exact[i][j] = value;
            least[i] = value < least[i] ? value : least[i];
            most = value > most ? value : most;
        }
        common += least[i];
        widest = most - least[i] > widest ? most - least[i] : widest;
    }
    *step = widest > 0 ? widest / 255 : 1;
    for (int64_t i = 0; i < sketch->n_numbers; i++)
        for (int j = 0; j < LEVELS; j++) {
            float steps = (exact[i][j] - least[i]) / *step + 0.5f;
            tables[i * LEVELS + j] = steps < 255 ? (uint8_t)steps : 255;
        }
    return common;
}

/* Add up the tables' steps for the rows of a block: sums[i] of row i. */
FAST static void add_up(const uint8_t *block, const uint8_t *tables, int64_t n_pairs, __m256i sums[2]) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i all[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i odd[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t i = 0; i < n_pairs; i++) {
        __m256i codes = _mm256_loadu_si256((const __m256i *)(block + 32 * i));
        __m256i table = _mm256_loadu_si256((const __m256i *)(tables + 32 * i));
        __m256i found[2] = {
            _mm256_shuffle_epi8(table, _mm256_and_si256(codes, low)),
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(codes, 4), low)),
        };
        for (int half = 0; half < 2; half++) {
            all[half] = _mm256_add_epi16(all[half], found[half]);
            odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16(found[half], 8));
        }
    }
    for (int half = 0; half < 2; half++) {
        __m256i even = _mm256_sub_epi16(all[half], _mm256_slli_epi16(odd[half], 8));
        __m128i evens = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
        __m128i odds = _mm_add_epi16(_mm256_castsi256_si128(odd[half]), _mm256_extracti128_si256(odd[half], 1));
        sums[half] = _mm256_set_m128i(_mm_unpackhi_epi16(evens, odds), _mm_unpacklo_epi16(evens, odds));
    }
}

/* Sort keys by their upper half, of which 16 bits are used. */
static void sort_keys(uint64_t *keys, int64_t n, uint64_t *spare) {
    for (int shift = 32; shift <= 40; shift += 8) {
        int64_t places[257] = {0};
        for (int64_t i = 0; i < n; i++) places[(keys[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) places[i + 1] += places[i];
        for (int64_t i = 0; i < n; i++) spare[places[keys[i] >> shift & 255]++] = keys[i];
        uint64_t *swapped = keys;
        keys = spare;
        spare = swapped;
    }
}

/* Say whether any row of a block, which a bitmap of all rows describes, is allowed. */
static int is_open(const uint8_t *allowed, int64_t start, int64_t n_rows) {
    uint32_t bits = 0;
    int64_t n_bytes = (n_rows - start + 7) / 8;
    memcpy(&bits, allowed + start / 8, (size_t)(n_bytes < BLOCK / 8 ? n_bytes : BLOCK / 8));
    return bits != 0;
}

/* Keep the keys whose sum is below a bound, in their order. Returns how many they are. */
static int64_t keep_below(uint64_t *keys, int64_t n_keys, uint32_t bound) {
    int64_t n_kept = 0;
    for (int64_t i = 0; i < n_keys; i++) {
        keys[n_kept] = keys[i];
        n_kept += keys[i] >> 32 < bound;
    }
    return n_kept;
}

/* Collect the n rows of the least sums, as keys of sum and row, ascending. Returns how many there are.

   The sums that were met are counted by ranges of STEP; rows beyond the range in which the n-th lies are passed over.
   Where too many lie in that range, none is returned. */
FAST static int64_t list_rows(const Sketch *sketch, const uint8_t *tables, const uint8_t *allowed, int64_t n,
                              uint64_t *keys, uint64_t *spare) {
    enum { STEP = 16, RANGES = MAX_NUMBERS * 256 / STEP };
    uint16_t counts[RANGES] = {0};
    int64_t n_keys = 0, n_near = 0, n_pairs = (sketch->n_numbers + 1) / 2;
    uint32_t range = RANGES - 1; /* the last that is looked at; n_near keys lie in it and before it */
    for (int64_t start = 0; start < sketch->n_rows; start += BLOCK) {
        __m256i sums[2];
        uint16_t listed[BLOCK];
        if (allowed && !is_open(allowed, start, sketch->n_rows)) continue;
        add_up(sketch->blocks + start * n_pairs, tables, n_pairs, sums);
        __m256i most = _mm256_set1_epi16((short)(range * STEP + STEP - 1));
        uint32_t masks[2];
        for (int half = 0; half < 2; half++)
            masks[half] = (uint32_t)_mm256_movemask_epi8(
                _mm256_cmpeq_epi16(_mm256_min_epu16(sums[half], most), sums[half]));
        if (!(masks[0] | masks[1])) continue;
        _mm256_storeu_si256((__m256i *)listed, sums[0]);
        _mm256_storeu_si256((__m256i *)(listed + 16), sums[1]);
        for (int half = 0; half < 2; half++)
            for (uint32_t mask = masks[half] & 0x55555555u; mask; mask &= mask - 1) {
                int place = 16 * half + __builtin_ctz(mask) / 2;
                int64_t row = start + place;
                if (row >= sketch->n_rows) break;
                if (allowed && !(allowed[row >> 3] >> (row & 7) & 1)) continue;
                if (listed[place] / STEP > range) continue;
                keys[n_keys++] = (uint64_t)listed[place] << 32 | (uint64_t)row;
                counts[listed[place] / STEP]++;
                n_near++;
                while (n_near - counts[range] >= n) n_near -= counts[range--];
            }
        if (n_keys > ROOM - BLOCK) {
            n_keys = keep_below(keys, n_keys, (range + 1) * STEP);
            if (n_keys > ROOM / 2) return 0;
        }
    }
    n_keys = keep_below(keys, n_keys, (range + 1) * STEP);
    sort_keys(keys, n_keys, spare);
    return n_keys < n ? n_keys : n;
}

/* List the rows that seem nearest to a query, and compare the first of them.

   `keys` has room for twice ROOM numbers; `off` becomes the mean and the standard deviation of the distances less what
   they seem to be. Returns n_listed; less where the order says nothing. */
FAST int64_t roost_look(const Sketch *sketch, const float *query, const float *vectors, const float *inverse_norms,
                        const uint8_t *allowed, int64_t n_listed, int64_t n_compared, uint64_t *keys, int64_t *rows,
                        float *seeming, float *found, double *off) {
    float numbers[MAX_NUMBERS], step;
    uint8_t tables[MAX_NUMBERS * LEVELS] = {0};
    if (!turn(sketch, query, numbers)) return 0;
    float common = tabulate(sketch, numbers, tables, &step), scale = sketch->metric == COSINE ? 0.5f : 1.0f;
    n_listed = list_rows(sketch, tables, allowed, n_listed, keys, keys + ROOM);
    if (n_listed < n_compared) return 0;
    for (int64_t i = 0; i < n_listed; i++) {
        int64_t place = (int64_t)(uint32_t)keys[i];
        rows[i] = sketch->rows ? sketch->rows[place] : place;
        seeming[i] = scale * (common + step * (float)(keys[i] >> 32));
    }
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n_compared; i++) {
        const float *row = vectors + rows[i] * sketch->dim;
        if (i + 1 < n_compared)
            for (int j = 0; j < 8; j++) __builtin_prefetch((const char *)(vectors + rows[i + 1] * sketch->dim) + 64 * j);
        if (sketch->metric == L2) found[i] = squared_distance(query, row, sketch->dim);
        else found[i] = -product(query, row, sketch->dim);
        if (inverse_norms) found[i] *= inverse_norms[rows[i]];
        sum += (double)found[i] - seeming[i];
    }
    off[0] = sum / (double)n_compared;
    for (int64_t i = 0; i < n_compared; i++) {
        double beyond = (double)found[i] - seeming[i] - off[0];
        squares += beyond * beyond;
    }
    off[1] = sqrt(squares / (double)n_compared);
    return n_listed;
}
#else
int roost_is_supported(void) { return 0; }
void roost_look(void) {}
#endif
