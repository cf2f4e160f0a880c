/* One query answered from a sketch: its rows in the order in which they seem near, of which the first are compared in
   full, and more until the nearest are among them.

   `compiled_sketch.py` describes the arguments and sees to it that they fit; nothing is checked here. All memory is the
   caller's, and any number of threads may call at once.

   Source: André, Kermarrec and Le Scouarnec 2015, "Cache locality is not enough: high-performance nearest neighbor
   search with product quantization fast scan". */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 32, LEVELS = 16, GROUP = 4, MAX_NUMBERS = 64 };
enum { LONGER_LIST = 2048, MAX_LISTED = 8192, ROOM = 4 * MAX_LISTED, MAX_LOOKS = 16 };
enum { UNORDERED = -1, ALL_ROWS = -2 };
enum { FETCHED = 2 }; /* how many rows ahead memory is told which is compared */
enum { L2 = 0, INNER_PRODUCT = 1, COSINE = 2 };

typedef struct {
    int64_t n_rows, dim, n_axes, n_numbers, metric;
    int64_t is_wide;       /* how `blocks` are written: see `roost_pack` */
    const float *axes;     /* (n_axes, dim) */
    const float *mean;     /* (dim) */
    const float *moved;    /* (n_numbers), added to a query's numbers */
    const float *levels;   /* (n_numbers, LEVELS) */
    const uint8_t *blocks; /* (ceil(n_rows / BLOCK), roost_block_bytes(n_numbers, is_wide)) */
    const int64_t *rows;   /* (n_rows), which rows of the vectors these are; none where they are all of them */
    double rest;           /* a query is strange that lies farther from the axes */
    double shared;         /* of its way beyond the axes that is not */
} Sketch;

/* How the rows that were compared are judged; `plan.py` tells of the numbers. */
typedef struct {
    int64_t k, n_allowed;          /* more than k */
    int64_t n_first, n_listed;     /* rows to compare first, and to list for that */
    int64_t n_unbounded;           /* rows to compare first where nothing is known */
    int64_t n_most;                /* rows to compare before all of them cost less */
    int64_t distinct_from, early_from, looks_after_first;
    double early_share, most_missed, growth_per_look, largest_exponent;
} Judge;

typedef struct {
    const float *query;         /* (dim) */
    const float *vectors;       /* (any number, dim) */
    const float *inverse_norms; /* of the vectors, for a cosine; otherwise none */
    const uint8_t *allowed;     /* a bit for each row of the sketch that may be found; none where all may be */
    double bound;               /* rows at this distance and beyond are not found */
} Query;

/* Where a scan puts what it finds. */
typedef struct {
    uint64_t *keys;                    /* (2 * ROOM) */
    int64_t *rows;                     /* (MAX_LISTED), those that seem nearest, nearest first */
    float *seeming, *found;            /* (MAX_LISTED), their distances by the sketch, and in full */
    int64_t *places, *ids;             /* (MAX_LISTED), of the answer: where its rows are listed, and their numbers */
    float *distances;                  /* (MAX_LISTED) */
    int64_t n_looks, looks[MAX_LOOKS]; /* how many looks it took, and rows that were compared by the end of each */
} Room;

#ifndef ROOST_SOURCE
#define ROOST_SOURCE 0
#endif

/* The checksum of this file, as it was compiled. */
uint32_t roost_source(void) { return ROOST_SOURCE; }

_Static_assert(MAX_NUMBERS % (2 * GROUP) == 0, "tables have room for the numbers that fill a block up");

/* Give the bytes of a block: of an even number of numbers, or, where they are wide, of an even number of groups. */
int64_t roost_block_bytes(int64_t n_numbers, int64_t is_wide) {
    int64_t filled = is_wide ? 2 * GROUP : 2;
    return (n_numbers + filled - 1) / filled * filled * (BLOCK / 2);
}

/* Write codes, two numbers a byte, as blocks. Each half of a byte holds a number of a row: the lower one of rows 0 to 15
   of the block, the upper one of rows 16 to 31. Bytes go row by row within a number, or, where they are wide, number by
   number within a row and row by row within a GROUP. */
void roost_pack(const uint8_t *codes, int64_t n_rows, int64_t n_numbers, int64_t is_wide, uint8_t *blocks) {
    int64_t width = (n_numbers + 1) / 2, half = BLOCK / 2, size = roost_block_bytes(n_numbers, is_wide);
    memset(blocks, 0, (size_t)((n_rows + BLOCK - 1) / BLOCK * size));
    for (int64_t row = 0; row < n_rows; row++) {
        uint8_t *block = blocks + row / BLOCK * size;
        int shift = row % BLOCK < half ? 0 : 4;
        for (int64_t i = 0; i < n_numbers; i++) {
            int code = codes[row * width + i / 2] >> (i % 2 * 4) & 15;
            int64_t place = is_wide ? i / GROUP * GROUP * half + row % half * GROUP + i % GROUP : i * half + row % half;
            block[place] |= (uint8_t)(code << shift);
        }
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define FAST __attribute__((target("avx2,fma")))
#if defined(__clang__) || __GNUC__ >= 8
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vbmi,avx512vnni")))
#endif

int roost_is_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

/* Whether blocks can be read that are wide. */
int roost_is_wide(void) {
#ifndef WIDE
    return 0;
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
#endif
}

FAST static inline float sum_of(__m256 v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* Have the n floats from i on, of what is read soon, fetched into the cache; none where there is none. */
static inline void fetch(const float *soon, int64_t i, int64_t n) {
    for (int64_t j = i; soon && j < i + n; j += 16) __builtin_prefetch(soon + j);
}

FAST static float product(const float *a, const float *b, int64_t n, const float *soon) {
    __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 32 <= n; fetch(soon, i, 32), i += 32)
        for (int j = 0; j < 4; j++)
            sums[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), sums[j]);
    for (; i + 8 <= n; i += 8) sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sums[0]);
    float sum = sum_of(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

FAST static float squared_distance(const float *a, const float *b, int64_t n, const float *soon) {
    __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 32 <= n; fetch(soon, i, 32), i += 32)
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
        numbers[i] = product(sketch->axes + i * sketch->dim, query, sketch->dim, NULL) + sketch->moved[i];
        along += (double)numbers[i] * numbers[i];
    }
    if (sketch->metric == INNER_PRODUCT)
        return !((1 - sketch->rest * sketch->rest) * product(query, query, sketch->dim, NULL) > along);
    double beyond = squared_distance(query, sketch->mean, sketch->dim, NULL) - along;
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

/* Add up the tables' steps for the rows of a block, which takes as many bytes as its tables. */
typedef void Adder(const uint8_t *block, const uint8_t *tables, int64_t n_bytes, uint16_t sums[BLOCK]);

FAST static void add_up(const uint8_t *block, const uint8_t *tables, int64_t n_bytes, uint16_t sums[BLOCK]) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i all[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i odd[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t i = 0; i < n_bytes; i += 32) {
        __m256i codes = _mm256_loadu_si256((const __m256i *)(block + i));
        __m256i table = _mm256_loadu_si256((const __m256i *)(tables + i));
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
        __m256i found = _mm256_set_m128i(_mm_unpackhi_epi16(evens, odds), _mm_unpacklo_epi16(evens, odds));
        _mm256_storeu_si256((__m256i *)(sums + 16 * half), found);
    }
}

#ifdef WIDE
/* A group's four tables lie in one register, and four bytes behind one another are added to the sum of their row. */
WIDE static void add_up_wide(const uint8_t *block, const uint8_t *tables, int64_t n_bytes, uint16_t sums[BLOCK]) {
    enum { FIRST_AND_SECOND_OR_THIRD = 0xEA };
    const __m512i low = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1), starts = _mm512_set1_epi32(0x30201000);
    __m512i lower[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i upper[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int64_t i = 0; i < n_bytes; i += 128)
        for (int j = 0; j < 2; j++) { /* two sums in turn: each waits for its last addition */
            __m512i codes = _mm512_loadu_si512(block + i + 64 * j);
            __m512i table = _mm512_loadu_si512(tables + i + 64 * j);
            __m512i high = _mm512_srli_epi16(codes, 4);
            codes = _mm512_ternarylogic_epi32(codes, low, starts, FIRST_AND_SECOND_OR_THIRD);
            high = _mm512_ternarylogic_epi32(high, low, starts, FIRST_AND_SECOND_OR_THIRD);
            lower[j] = _mm512_dpbusd_epi32(lower[j], _mm512_permutexvar_epi8(codes, table), ones);
            upper[j] = _mm512_dpbusd_epi32(upper[j], _mm512_permutexvar_epi8(high, table), ones);
        }
    __m256i first = _mm512_cvtepi32_epi16(_mm512_add_epi32(lower[0], lower[1]));
    __m256i second = _mm512_cvtepi32_epi16(_mm512_add_epi32(upper[0], upper[1]));
    _mm256_storeu_si256((__m256i *)sums, first);
    _mm256_storeu_si256((__m256i *)(sums + 16), second);
}
#else
#define add_up_wide add_up
#endif

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

/* Give a bit for each row of a block that is there and that a bitmap of all rows allows, if there is one. */
static uint32_t open_rows(const uint8_t *allowed, int64_t start, int64_t n_rows) {
    uint32_t given = 0;
    if (n_rows - start >= BLOCK) {
        if (!allowed) return UINT32_MAX;
        memcpy(&given, allowed + start / 8, sizeof given);
        return given;
    }
    int64_t n_here = n_rows - start;
    uint32_t there = ((uint32_t)1 << n_here) - 1;
    if (!allowed) return there;
    memcpy(&given, allowed + start / 8, (size_t)(n_here + 7) / 8);
    return there & given;
}

/* Give a bit for each row of a block whose sum is at most so much. */
FAST static inline uint32_t rows_upto(const uint16_t sums[BLOCK], uint32_t most) {
    __m256i low = _mm256_loadu_si256((const __m256i *)sums), high = _mm256_loadu_si256((const __m256i *)(sums + 16));
    __m256i bound = _mm256_set1_epi16((short)most);
    __m256i first = _mm256_cmpeq_epi16(_mm256_min_epu16(low, bound), low);
    __m256i second = _mm256_cmpeq_epi16(_mm256_min_epu16(high, bound), high);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(first, second), 0xd8);
    return (uint32_t)_mm256_movemask_epi8(both);
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
    int64_t n_keys = 0, n_near = 0, n_bytes = roost_block_bytes(sketch->n_numbers, sketch->is_wide);
    Adder *add = sketch->is_wide ? add_up_wide : add_up;
    uint32_t range = RANGES - 1; /* the last that is looked at; n_near keys lie in it and before it */
    for (int64_t start = 0; start < sketch->n_rows; start += BLOCK) {
        uint16_t sums[BLOCK];
        uint32_t rows = open_rows(allowed, start, sketch->n_rows);
        if (!rows) continue;
        add(sketch->blocks + start / BLOCK * n_bytes, tables, n_bytes, sums);
        rows &= rows_upto(sums, range * STEP + STEP - 1);
        for (; rows; rows &= rows - 1) {
            int place = __builtin_ctz(rows);
            if (sums[place] / STEP > range) continue;
            keys[n_keys++] = (uint64_t)sums[place] << 32 | (uint64_t)(start + place);
            counts[sums[place] / STEP]++;
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

/* Say how much of a normal distribution lies beyond so many standard deviations. */
static double tail_of(double z) { return 0.5 * erfc(z / sqrt(2.0)); }

/* As `is_complete` in `plan.py`. */
static int is_complete(const Judge *judge, int64_t n_compared, double gap, double spread, double growth) {
    int64_t n_behind = judge->n_allowed - n_compared;
    if (n_behind <= 0 || spread <= 0) return n_behind <= 0 || gap >= 0;
    double z = gap / spread, n_missed = (double)n_behind * tail_of(z);
    if (growth > 0) {
        double rate = log(2.0) * spread / growth, exponent = rate * (rate / 2 - z);
        if (exponent < judge->largest_exponent)
            n_missed = fmin(n_missed, (double)n_compared * (exp(exponent) * tail_of(z - rate) - tail_of(z)));
    }
    double share = (double)judge->n_unbounded / (double)n_compared;
    return n_missed <= judge->most_missed * (share < 1 ? share : 1.0);
}

/* As `next_look` in `plan.py`; 0 for all rows. */
static int64_t next_look(const Judge *judge, int64_t n_compared) {
    int64_t further = 2 * n_compared < judge->n_allowed ? 2 * n_compared : judge->n_allowed;
    return further > judge->n_most ? 0 : further;
}

/* As `likely_look` in `plan.py`; 0 for all rows. */
static int64_t likely_look(const Judge *judge, int64_t n_compared, double gap, double spread, double growth) {
    int64_t further = next_look(judge, n_compared);
    while (further && further < judge->n_allowed) {
        growth *= judge->growth_per_look;
        gap += growth;
        if (is_complete(judge, further, gap, spread, growth)) break;
        further = next_look(judge, further);
    }
    return further;
}

/* Give how much the distances of the first n rows, ascending, grew over their second half, the last step left out. */
static double growth_of(const float *seeming, int64_t n) {
    if (n < 2) return 0;
    int64_t half = n / 2 - 1, step = n - 1;
    while (step > half && seeming[step] >= seeming[n - 1]) step--;
    return (double)seeming[step] - seeming[half];
}

/* Give how many different numbers there are among n that ascend. */
static int64_t n_distinct_of(const float *ascending, int64_t n) {
    int64_t n_distinct = n > 0;
    for (int64_t i = 1; i < n; i++) n_distinct += ascending[i] != ascending[i - 1];
    return n_distinct;
}

/* What the rows that were compared with a query have shown. */
typedef struct {
    int64_t n_listed, n_compared, n_found;
    double mean, spread; /* of the distances less what they seem to be; the spread by what is below the mean */
} Seen;

/* Compare rows of the list up to the n-th; keep the k nearest below the bound, nearest first, ties in their order. */
FAST static void compare(const Sketch *sketch, const Judge *judge, const Query *asked, Room *room, Seen *seen,
                         int64_t n) {
    for (int64_t i = seen->n_compared; i < n; i++) {
        const float *row = asked->vectors + room->rows[i] * sketch->dim;
        const float *soon = i + FETCHED < n ? asked->vectors + room->rows[i + FETCHED] * sketch->dim : NULL;
        float distance = sketch->metric == L2 ? squared_distance(asked->query, row, sketch->dim, soon)
                                              : -product(asked->query, row, sketch->dim, soon);
        if (asked->inverse_norms) distance *= asked->inverse_norms[room->rows[i]];
        room->found[i] = distance;
        int64_t slot = seen->n_found, k = judge->k;
        if (!(distance < asked->bound) || (slot == k && !(distance < room->distances[k - 1]))) continue;
        if (slot == k) slot--;
        else seen->n_found++;
        for (; slot > 0 && room->distances[slot - 1] > distance; slot--) {
            room->distances[slot] = room->distances[slot - 1];
            room->places[slot] = room->places[slot - 1];
        }
        room->distances[slot] = distance;
        room->places[slot] = i;
    }
    seen->n_compared = n;
    double sum = 0, squares = 0, n_below = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)room->found[i] - room->seeming[i];
    seen->mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double off = (double)room->found[i] - room->seeming[i] - seen->mean;
        if (off < 0) squares += off * off, n_below++;
    }
    seen->spread = n_below > 0 ? sqrt(squares / n_below) : 0;
}

/* Give how many rows to compare: as many as were where these hold the nearest; 0 for all rows. */
static int64_t further_of(const Judge *judge, const Query *asked, const Room *room, const Seen *seen) {
    int64_t n = seen->n_compared, k = judge->k;
    int is_bounded = asked->bound < INFINITY;
    int64_t n_distinct = n_distinct_of(room->seeming, n);
    if (n_distinct < judge->distinct_from && n < judge->n_allowed) return next_look(judge, n); /* as `is_judged` */
    if (!is_bounded) {
        if (seen->n_found < k) return 0;
        double places = 0;
        for (int64_t i = 0; i < k; i++) places += (double)room->places[i];
        /* As `stands_early` in `plan.py`. Of rows behind others few belong to the answer: places say little there. */
        int is_clear = n_distinct_of(room->distances, k) >= judge->early_from;
        if (is_clear && places / (double)k - (double)(k - 1) / 2 <= judge->early_share * (double)n)
            return n;
    }
    double off = seen->mean - (seen->n_found == k ? (double)room->distances[k - 1] : asked->bound);
    double gap = room->seeming[n - 1] + off, growth = growth_of(room->seeming, n), spread = seen->spread;
    if (is_complete(judge, n, gap, spread, growth)) return n;
    int64_t further = next_look(judge, n);
    if (!is_bounded) { /* as `further_look` in `plan.py` */
        int is_late = n >= judge->n_first << judge->looks_after_first;
        return is_late && !likely_look(judge, n, gap, spread, growth) ? 0 : further;
    }
    for (; further && further <= seen->n_listed; further = next_look(judge, n)) {
        gap = room->seeming[further - 1] + off;
        growth = growth_of(room->seeming, further);
        if (is_complete(judge, further, gap, spread, growth)) return further;
        n = further;
    }
    /* A longer list shows better than what is known how many rows it takes. */
    int64_t longest = MAX_LISTED < judge->n_allowed ? MAX_LISTED : judge->n_allowed;
    return seen->n_listed < longest ? further : likely_look(judge, n, gap, spread, growth);
}

/* Find the nearest rows to a query, below its bound, in looks at longer and longer beginnings of their order.

   Returns how many were found: their numbers in `room->ids`, nearest first, and their distances; UNORDERED where the
   order says nothing; ALL_ROWS where it takes a comparison of all. `room->looks` says how many rows were compared by
   the end of each look, and `room->n_looks` how many there were. */
FAST int64_t roost_scan(const Sketch *sketch, const Judge *judge, const Query *asked, Room *room) {
    float numbers[MAX_NUMBERS], step;
    uint8_t tables[MAX_NUMBERS * LEVELS] = {0};
    Seen seen = {0};
    room->n_looks = 0;
    if (!turn(sketch, asked->query, numbers)) return UNORDERED;
    float common = tabulate(sketch, numbers, tables, &step), scale = sketch->metric == COSINE ? 0.5f : 1.0f;
    int64_t n_next = judge->n_first, n_wanted = judge->n_listed;
    while (room->n_looks < MAX_LOOKS) {
        if (n_next > seen.n_listed) {
            if (n_next > n_wanted) n_wanted = n_next <= LONGER_LIST ? LONGER_LIST : MAX_LISTED;
            if (n_wanted > judge->n_allowed) n_wanted = judge->n_allowed;
            if (n_next > n_wanted) return ALL_ROWS;
            seen.n_listed = list_rows(sketch, tables, asked->allowed, n_wanted, room->keys, room->keys + ROOM);
            if (seen.n_listed < n_wanted) return UNORDERED;
            for (int64_t i = 0; i < n_wanted; i++) {
                int64_t place = (int64_t)(uint32_t)room->keys[i];
                room->rows[i] = sketch->rows ? sketch->rows[place] : place;
                room->seeming[i] = scale * (common + step * (float)(room->keys[i] >> 32));
            }
        }
        compare(sketch, judge, asked, room, &seen, n_next);
        room->looks[room->n_looks++] = n_next;
        n_next = further_of(judge, asked, room, &seen);
        if (n_next == seen.n_compared) {
            for (int64_t i = 0; i < seen.n_found; i++) room->ids[i] = room->rows[room->places[i]];
            return seen.n_found;
        }
        if (!n_next) return ALL_ROWS;
    }
    return ALL_ROWS;
}
#else
int roost_is_supported(void) { return 0; }
int roost_is_wide(void) { return 0; }
void roost_scan(void) {}
#endif
