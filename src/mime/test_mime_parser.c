#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "mime/parser.h"

/* Feeds text in pieces of the given sizes (0: all the rest). */
static struct mime_parser *parse(struct span text, size_t first, size_t step)
{
    struct mime_parser *p = mime_parser_new(NULL);

    mime_parser_feed(p, span_sub(text, 0, first));
    for (text = span_from(text, first); text.len; text = span_from(text, step ? step : text.len))
        mime_parser_feed(p, span_sub(text, 0, step ? step : text.len));
    mime_parser_finish(p);
    return p;
}

/* Structure, problems and fields as bytes. */
static void picture(struct mime_parser *p, struct buf *out)
{
    size_t count;
    const struct mime_problem *problems = mime_parser_problems(p, &count);
    const struct mime_field *fields;

    assert_int_equal(mime_structure_encode(mime_parser_structure(p), 1 << 20, out), BRANT_OK);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s@%llu/%u ", mime_problem_name(problems[i].code),
                   (unsigned long long)problems[i].offset, problems[i].part);
    for (int c = 0; c < MIME_PROBLEM_COUNT; c++)
        buf_printf(out, "%llu ", (unsigned long long)mime_parser_problem_count(p, (enum mime_problem_code)c));
    fields = mime_parser_fields(p, &count);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%llu+%llu:%u:%u ", (unsigned long long)fields[i].start,
                   (unsigned long long)fields[i].end, fields[i].name_len, fields[i].value);
}

static void check_splits(struct span text)
{
    struct buf whole, other;
    struct mime_parser *p = parse(text, text.len, 0);

    buf_init(&whole, 4 << 20);
    buf_init(&other, 4 << 20);
    picture(p, &whole);
    mime_parser_free(p);
    for (size_t cut = 0; cut <= text.len; cut++) {
        p = cut ? parse(text, cut, 0) : parse(text, 0, 1);
        buf_reset(&other);
        picture(p, &other);
        mime_parser_free(p);
        assert_true(span_eq(buf_span(&whole), buf_span(&other)));
    }
    buf_done(&whole);
    buf_done(&other);
}

static struct span body_of(struct span text, const struct mime_part *part)
{
    return span_sub(text, part->body_start, part->body_end - part->body_start);
}

#define NESTED                                                                                  \
    "From: a@b.test\r\nDate: Mon, 23 Nov 2026 09:12:16 +0000\r\nSubject: one\r\n two\r\n"       \
    "Content-Type: multipart/mixed; boundary=outer\r\n\r\npreamble\r\n"                         \
    "--outer\r\n\r\nplain\r\nbody\r\n--outer\r\n"                                               \
    "Content-Type: multipart/digest; boundary=\"inner x\"\r\n\r\n--inner x\r\n\r\nSubject: in " \
    "digest\r\n\r\n"                                                                            \
    "text\r\n--inner x--\r\nepilogue\r\n--outer \t\r\n"                                         \
    "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"                   \
    "Subject: enclosed\r\nTo: x@y\r\nTo: z@y\r\n\r\nhello\r\n--outer--\r\nafter\r\n"

static void finds_the_parts(void **state)
{
    struct span text = SPAN_LIT(NESTED), type, subtype;
    struct mime_parser *p = parse(text, text.len, 0);
    const struct mime_structure *s = mime_parser_structure(p);
    static const struct {
        unsigned depth, parent, kind, lines;
        const char *type, *body;
    } want[] = {
        {0, 0, MIME_KIND_MULTIPART, 0, "multipart", NULL}, {1, 0, MIME_KIND_LEAF, 1, "text", "plain\r\nbody"},
        {1, 0, MIME_KIND_MULTIPART, 0, "multipart", NULL}, {2, 2, MIME_KIND_MESSAGE, 2, "message", NULL},
        {3, 3, MIME_KIND_LEAF, 0, "text", "text"},         {1, 0, MIME_KIND_MESSAGE, 4, "message", NULL},
        {2, 5, MIME_KIND_LEAF, 0, "text", "hello"}};

    (void)state;
    assert_int_equal(s->count, sizeof want / sizeof want[0]);
    assert_int_equal(s->size, text.len);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct mime_part *part = &s->parts[i];

        assert_int_equal(part->depth, want[i].depth);
        assert_int_equal(part->parent, want[i].parent);
        assert_int_equal(part->kind, want[i].kind);
        mime_part_type(part, &type, &subtype);
        assert_true(span_eq_str(type, want[i].type));
        if (part->kind != MIME_KIND_MULTIPART)
            assert_int_equal(part->body_lines, want[i].lines);
        if (want[i].body)
            assert_true(span_eq_str(body_of(text, part), want[i].body));
    }
    assert_true(span_eq_str(mime_part_value(&s->parts[0], MIME_FIELD_SUBJECT), "one two"));
    assert_true(span_eq_str(mime_part_value(&s->parts[6], MIME_FIELD_SUBJECT), "enclosed"));
    assert_true(span_eq_str(mime_part_value(&s->parts[5], MIME_FIELD_CONTENT_DISPOSITION), "attachment"));
    assert_true(span_eq_str(body_of(text, &s->parts[2]),
                            "--inner x\r\n\r\nSubject: in digest\r\n\r\ntext\r\n--inner x--\r\nepilogue"));
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_DUPLICATE_FIELD), 1);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_UNTERMINATED_MULTIPART), 0);
    mime_parser_free(p);
}

static void lists_the_fields(void **state)
{
    struct span text = SPAN_LIT("A: 1\r\nB :\r\n two\r\nbad line\r\n more\r\nFrom: x\r\n\r\nbody\r\n");
    struct mime_parser *p = mime_parser_new(NULL);
    const struct mime_field *f;
    size_t count;
    uint64_t end;

    (void)state;
    mime_parser_feed(p, span_sub(text, 0, text.len - 8));
    assert_false(mime_parser_header_done(p, &end));
    mime_parser_feed(p, span_from(text, text.len - 8));
    assert_true(mime_parser_header_done(p, &end));
    assert_int_equal(end, text.len - 6);
    mime_parser_finish(p);
    f = mime_parser_fields(p, &count);
    assert_int_equal(count, 3);
    assert_true(span_eq_str(span_sub(text, f[1].start, f[1].end - f[1].start), "B :\r\n two\r\n"));
    assert_int_equal(f[1].name_len, 1);
    assert_true(span_eq_str(span_sub(text, f[1].start + f[1].value, 6), "\r\n two"));
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_HEADER_BAD_LINE), 1);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_MISSING_DATE), 1);
    mime_parser_free(p);
}

/* A part without body ends with its header, and so do the parts around it: never outside of them. */
static void children_stay_inside(void **state)
{
    static const char *const texts[] = {
        "Content-Type: multipart/x; boundary=a\n\n--a\nContent-Type: multipart/x; "
        "boundary=b\n\n--b\n\n--a--\n",
        "Content-Type: multipart/x; boundary=a\n\n--a\nContent-Type: multipart/x; boundary=b\n\n--b\n--a--\n",
        "Content-Type: multipart/x; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\n\n--a--\n",
        "Content-Type: multipart/x; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\n--a--\n",
    };

    (void)state;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        struct mime_parser *p = parse(span_str(texts[t]), 0, 0);
        const struct mime_structure *s = mime_parser_structure(p);

        assert_int_equal(s->count, 3);
        for (uint32_t i = 1; i < s->count; i++) {
            assert_true(s->parts[i].body_end <= s->parts[s->parts[i].parent].body_end);
            assert_true(s->parts[i].body_lines < 4);
        }
        mime_parser_free(p);
        check_splits(span_str(texts[t]));
    }
}

static void splits_change_nothing(void **state)
{
    static const char *const texts[] = {
        NESTED,
        "",
        "\r\n",
        "\n",
        "A",
        "A: b\r",
        " leading\r\nA: b\r\n\r\n",
        "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n--a\nContent-Type: multipart/x; "
        "boundary=b\n\n--b\n\nx\n--a\n\ny",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n\r\n--a\r\nX: y\r\n--a--",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; "
        "boundary=ab\r\n\r\n"
        "--ab\r\n\r\n1\r\n--abc\r\n\r\n2\r\n--ab--\r\n--a--x\r\n",
        "Subject: \xc3\xa4\r\nX: \xff\r\n\r\na\rb\r\r\nc\nd\xe4\r\n\r",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n-\r\n--\r\n--a\r\nContent-Type: multipart/mixed; "
        "boundary=b\r\n--a\r\n",
        "Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: base64\r\n\r\n--\r\n",
        "Content-Type: text\r\nContent-Transfer-Encoding: x-odd\r\n\r\n",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_splits(span_str(texts[i]));
    check_splits(SPAN_LIT("A: \0b\r\n\r\nx\0\r\0\n"));
}

static void reports_problems(void **state)
{
    static const struct {
        const char *text;
        enum mime_problem_code code;
        uint64_t offset;
    } cases[] = {
        {"A: b\n\n", MIME_PROBLEM_BARE_LF, 4},
        {"A: b\rc\r\n", MIME_PROBLEM_BARE_CR, 4},
        {"\r\nab\r", MIME_PROBLEM_BARE_CR, 4},
        {"nothing\r\n", MIME_PROBLEM_HEADER_BAD_LINE, 0},
        {"A: \xff\r\n", MIME_PROBLEM_HEADER_8BIT, 0},
        {"A: \xc3\xa4\r\n", MIME_PROBLEM_HEADER_UTF8, 0},
        {"From: a\r\nFrom: b\r\n", MIME_PROBLEM_DUPLICATE_FIELD, 9},
        {"MIME-Version: 1\r\nmime-version: 1\r\n", MIME_PROBLEM_DUPLICATE_FIELD, 17},
        {"\r\n\xe4", MIME_PROBLEM_BODY_8BIT, 2},
        {"Content-Type: ;\r\n", MIME_PROBLEM_BAD_CONTENT_TYPE, 0},
        {"Content-Transfer-Encoding: x\r\n", MIME_PROBLEM_BAD_ENCODING, 0},
        {"Content-Type: multipart/x; boundary=\"\"\r\n", MIME_PROBLEM_MISSING_BOUNDARY, 0},
        {"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n", MIME_PROBLEM_UNTERMINATED_MULTIPART, 48},
        {"Content-Type: multipart/x; boundary=b\r\n\r\n--b--\r\n", MIME_PROBLEM_EMPTY_MULTIPART, 0},
        {"Content-Type: multipart/x; boundary=b\r\n\r\n--b x\r\n", MIME_PROBLEM_BOUNDARY_TRAILING, 41},
        {"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\nA: b\r\n--b--",
         MIME_PROBLEM_HEADER_UNTERMINATED, 52},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mime_parser *p = parse(span_str(cases[i].text), 0, 0);
        size_t count;
        const struct mime_problem *list = mime_parser_problems(p, &count);
        bool found = false;

        for (size_t j = 0; j < count; j++)
            found = found || (list[j].code == cases[i].code && list[j].offset == cases[i].offset);
        if (!found)
            fail_msg("case %zu: no %s at %llu", i, mime_problem_name(cases[i].code),
                     (unsigned long long)cases[i].offset);
        mime_parser_free(p);
    }
}

static void blob_comes_back(void **state)
{
    struct span text = SPAN_LIT(NESTED);
    struct mime_parser *p = parse(text, text.len, 0);
    const struct mime_structure *s = mime_parser_structure(p);
    struct mime_structure d;
    struct arena a;
    struct buf blob, again;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&blob, 1 << 16);
    buf_init(&again, 1 << 16);
    assert_int_equal(mime_structure_encode(s, MIME_STRUCTURE_MIN, &blob), BRANT_OK);
    assert_int_equal(mime_structure_decode(buf_span(&blob), &a, &d), BRANT_OK);
    assert_int_equal(d.count, s->count);
    assert_false(d.truncated);
    for (uint32_t i = 0; i < d.count; i++) {
        assert_int_equal(d.parts[i].parent, s->parts[i].parent);
        assert_int_equal(d.parts[i].body_end, s->parts[i].body_end);
    }
    assert_int_equal(mime_structure_encode(&d, MIME_STRUCTURE_MIN, &again), BRANT_OK);
    assert_true(span_eq(buf_span(&blob), buf_span(&again)));
    for (size_t cut = 0; cut < blob.len; cut++)
        assert_int_equal(mime_structure_decode(span_sub(buf_span(&blob), 0, cut), &a, &d), BRANT_ESYNTAX);
    blob.data[1] = 9;
    assert_int_equal(mime_structure_decode(buf_span(&blob), &a, &d), BRANT_EUNSUPPORTED);
    buf_done(&blob);
    buf_done(&again);
    arena_done(&a);
    mime_parser_free(p);
}

/* A text repeated, between a head and a tail. */
static struct mime_parser *parse_repeated(const char *head, const char *unit, size_t times, const char *tail)
{
    struct mime_parser *p = mime_parser_new(NULL);
    struct buf block;

    buf_init(&block, 1 << 20);
    for (size_t i = 0; i < 1000; i++)
        buf_append_str(&block, unit);
    mime_parser_feed(p, span_str(head));
    for (size_t i = 0; i < times / 1000; i++)
        mime_parser_feed(p, buf_span(&block));
    mime_parser_feed(p, span_str(tail));
    mime_parser_finish(p);
    buf_done(&block);
    return p;
}

static void check_blob(struct mime_parser *p, bool truncated)
{
    struct buf blob;
    struct arena a;
    struct mime_structure d;

    buf_init(&blob, 65536);
    arena_init(&a, 4 << 20);
    assert_int_equal(mime_structure_encode(mime_parser_structure(p), 65536, &blob), BRANT_OK);
    assert_int_equal(mime_structure_decode(buf_span(&blob), &a, &d), BRANT_OK);
    assert_true(d.truncated == truncated);
    assert_true(d.count > 0);
    buf_done(&blob);
    arena_done(&a);
}

static void bombs_are_bounded(void **state)
{
    struct mime_parser *p;
    size_t count;

    (void)state;
    p = parse_repeated("", "To: someone@example.org\r\n", 1000000, "\r\nbody\r\n");
    mime_parser_fields(p, &count);
    assert_int_equal(count, 2000);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_TOO_MANY_FIELDS), 998000);
    check_blob(p, true);
    mime_parser_free(p);

    p = parse_repeated("Subject: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                       1000000, "\r\n\r\nbody\r\n");
    mime_parser_fields(p, &count);
    assert_int_equal(count, 1);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_FIELD_TRUNCATED), 1);
    assert_int_equal(mime_parser_structure(p)->parts[0].body_start, 64000000 + 9 + 4);
    check_blob(p, true);
    mime_parser_free(p);

    p = parse_repeated("Subject: x", "\r\n  folded", 1000000, "\r\n\r\nbody\r\n");
    assert_int_equal(mime_parser_structure(p)->parts[0].body_end, 10 + 10000000 + 10);
    mime_parser_free(p);

    p = parse_repeated("Content-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\n\r\nx\r\n", 1000000,
                       "--b--\r\n");
    assert_int_equal(mime_parser_structure(p)->count, MIME_STRUCTURE_PARTS_MAX);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_TOO_MANY_PARTS), 990001);
    check_blob(p, true);
    mime_parser_free(p);

    p = parse_repeated("", "Content-Type: message/rfc822\r\n\r\n", 100000, "");
    assert_int_equal(mime_parser_structure(p)->count, 101);
    assert_int_equal(mime_parser_problem_count(p, MIME_PROBLEM_TOO_DEEP), 1);
    check_blob(p, true);
    mime_parser_free(p);

    p = parse_repeated("", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 100000, "");
    assert_int_equal(mime_parser_structure(p)->parts[MIME_STRUCTURE_PARTS_MAX - 1].depth, 100);
    mime_parser_free(p);
}

/* A hundred open boundaries that differ in their last byte only, and lines that nearly match them all. */
static void near_boundaries_are_bounded(void **state)
{
    struct mime_parser *p = mime_parser_new(NULL);
    struct buf head, line;
    char same[61];

    (void)state;
    memset(same, 'y', 60);
    same[60] = '\0';
    buf_init(&head, 1 << 20);
    buf_init(&line, 1 << 20);
    for (int i = 0; i < 100; i++)
        buf_printf(&head, "Content-Type: multipart/mixed; boundary=%s%03d\r\n\r\n--%s%03d\r\n", same, i, same,
                   i);
    mime_parser_feed(p, buf_span(&head));
    buf_printf(&line, "\r\n--%szzz\r\n", same);
    mime_parser_feed(p, SPAN_LIT("\r\n"));
    for (int i = 0; i < 100000; i++)
        mime_parser_feed(p, buf_span(&line));
    mime_parser_finish(p);
    assert_int_equal(mime_parser_structure(p)->count, 101);
    buf_done(&head);
    buf_done(&line);
    mime_parser_free(p);
}

static void limits_hold(void **state)
{
    struct mime_limits limits = {
        .depth_max = 2, .parts_max = 3, .fields_max = 1, .field_bytes_max = 200, .memory_bytes_max = 256};
    struct mime_parser *p = mime_parser_new(&limits);
    size_t count;

    (void)state;
    mime_parser_feed(
        p, SPAN_LIT("From: a\r\nTo: b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\n"
                    "\r\n--b\r\n\r\n--b\r\n\r\n--b--\r\n"));
    mime_parser_finish(p);
    mime_parser_fields(p, &count);
    assert_int_equal(count, 1);
    assert_int_equal(mime_parser_structure(p)->count, 3);
    assert_true(mime_parser_structure(p)->truncated);
    mime_parser_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_parts),      cmocka_unit_test(lists_the_fields),
        cmocka_unit_test(children_stay_inside), cmocka_unit_test(splits_change_nothing),
        cmocka_unit_test(reports_problems),     cmocka_unit_test(blob_comes_back),
        cmocka_unit_test(bombs_are_bounded),    cmocka_unit_test(near_boundaries_are_bounded),
        cmocka_unit_test(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
