/* Any bytes as a recorded structure: what FETCH makes of it keeps to the grammar and to its bounds. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/bodystructure.h"
#include "imap/envelope.h"
#include "imap/section.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Strings closed, parentheses balanced, literals whole, never deeper than parts may be. */
static void check_grammar(struct span text)
{
    size_t depth = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '(') {
            depth++;
        } else if (text.p[i] == ')') {
            assert(depth > 0);
            depth--;
        } else if (text.p[i] == '"') {
            for (i++; i < text.len && text.p[i] != '"'; i++)
                i += text.p[i] == '\\';
            assert(i < text.len);
        } else if (text.p[i] == '{') {
            struct span digits = span_from(text, i + 1);
            uint64_t len;

            digits.len = span_find_byte(digits, '}');
            assert(span_to_u64(digits, text.len, &len) == BRANT_OK);
            i += digits.len + 3 + len;
            assert(i < text.len);
        }
        assert(depth < 1000);
    }
    assert(depth == 0);
}

static void sections(const struct mime_structure *s)
{
    uint32_t path[3];

    for (uint32_t n = 0; n < 64; n++) {
        for (int kind = IMAP_SECTION_BODY; kind <= IMAP_SECTION_MIME; kind++) {
            struct imap_section section = {
                .kind = (enum imap_section_kind)kind, .path = path, .path_len = n % 4};
            struct imap_extent extent;
            const struct mime_part *part;

            path[0] = n / 4 % 4 + 1;
            path[1] = n / 16 + 1;
            path[2] = 1;
            if (imap_section_find(s, &section, &extent, &part))
                assert(extent.start <= extent.end && extent.end <= s->size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct mime_structure s;
    struct buf out;

    if (size > 65536)
        return 0;
    arena_init(&a, 4 << 20);
    buf_init(&out, 4 << 20);
    if (mime_structure_decode(span_make(data, size), &a, &s) == BRANT_OK) {
        sections(&s);
        for (int extended = 0; extended < 2; extended++) {
            buf_reset(&out);
            imap_bodystructure_put(&out, &s, extended, size % 2);
            assert(!out.overflowed);
            check_grammar(buf_span(&out));
        }
        if (s.count) {
            buf_reset(&out);
            imap_envelope_put(&out, &s.parts[0], size % 2);
            assert(!out.overflowed);
            check_grammar(buf_span(&out));
        }
        if (imap_structure_shift(&s, s.size + 100))
            sections(&s);
    }
    buf_done(&out);
    arena_done(&a);
    return 0;
}
