/* Any bytes as what stands in commands: names, patterns, sets, flags, FETCH, SEARCH, LIST. The first byte
 * chooses. */
#include <assert.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "imap/date.h"
#include "imap/fetch.h"
#include "imap/list.h"
#include "imap/preview.h"
#include "imap/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name(struct span in)
{
    struct buf utf8, utf7, again;

    buf_init(&utf8, 65536);
    buf_init(&utf7, 65536);
    buf_init(&again, 65536);
    if (imap_utf7_to_utf8(in, &utf8) == BRANT_OK) { /* there is one way to write it */
        assert(codec_utf8_valid(buf_span(&utf8)));
        assert(imap_utf8_to_utf7(buf_span(&utf8), &utf7) == BRANT_OK);
        assert(span_eq(buf_span(&utf7), in));
    }
    buf_reset(&utf7);
    if (imap_utf8_to_utf7(in, &utf7) == BRANT_OK) {
        assert(imap_utf7_to_utf8(buf_span(&utf7), &again) == BRANT_OK);
        assert(span_eq(buf_span(&again), in));
    }
    buf_reset(&again);
    imap_name_parse(in, in.len % 2, &again);
    imap_name_parse_new(in, in.len % 2, &again);
    buf_done(&utf8);
    buf_done(&utf7);
    buf_done(&again);
}

static void list(struct imap_lex *lex)
{
    struct imap_list list;
    struct imap_list_walk w;
    struct imap_list_line line;
    struct imap_mailbox boxes[] = {{.name = SPAN_LIT("INBOX"), .exists = true},
                                   {.name = SPAN_LIT("a/b"), .exists = true, .subscribed = true},
                                   {.name = SPAN_LIT("a/b/c"), .subscribed = true}};
    struct buf out;

    if (imap_list_parse(lex, false, lex->in.len % 2, IMAP_EXT_ALL, &list) != BRANT_OK)
        return;
    buf_init(&out, IMAP_LIST_LINE_MAX);
    imap_list_walk_init(&w, &list);
    for (int i = 0; i < 4; i++) {
        if (i < 3)
            imap_list_walk_feed(&w, &boxes[i]);
        else
            imap_list_walk_finish(&w);
        while (imap_list_walk_next(&w, &line)) {
            buf_reset(&out);
            imap_list_line_put(&out, &list, &line);
            assert(!out.overflowed);
        }
    }
    imap_list_walk_done(&w);
    buf_done(&out);
}

static void fetch(struct imap_lex *lex)
{
    struct imap_fetch f;
    struct buf out;

    if (imap_fetch_parse(lex, IMAP_EXT_ALL, &f) != BRANT_OK)
        return;
    for (size_t i = 0; i < f.count; i++) {
        buf_init(&out, imap_fetch_name_max(&f.items[i]));
        imap_fetch_name_put(&out, &f.items[i]);
        assert(!out.overflowed);
        buf_done(&out);
    }
}

static void search(struct imap_lex *lex)
{
    static const char text[] = "Subject: x\r\n";
    struct imap_keywords keywords = {0};
    struct imap_set recent, candidates;
    struct imap_search_context c = {&keywords, &recent, 1000};
    struct imap_entry e = {.uid = 3, .flags = 5};
    struct mime_part root = {0};
    struct imap_search s;
    struct imap_view view;
    uint8_t truths[1000], scratch[1000];

    if (imap_search_parse(lex, 1000, lex->in.len % 2, &s) != IMAP_SEARCH_OK)
        return;
    imap_set_init(&recent, 1);
    imap_set_init(&candidates, 100);
    imap_view_init(&view, 10);
    imap_view_append(&view, 2, 5);
    if (imap_search_resolve(&s, &view, &recent, &candidates) == BRANT_OK) {
        imap_search_entry(&s, &c, &e, truths);
        imap_search_structure(&s, &root, truths);
        imap_search_field(&s, IMAP_WHERE_MESSAGE, span_make(text, 7), span_make(text + 8, 2), truths);
        imap_search_header_end(&s, truths);
        imap_search_end(&s, truths);
        assert(imap_search_value(&s, truths, scratch) != IMAP_UNKNOWN);
    }
    imap_search_done(&s);
    imap_set_done(&candidates);
    imap_view_done(&view);
}

static void rest(struct imap_lex *lex)
{
    struct imap_seq_set set;
    struct imap_flag_list flags;
    struct imap_set made;
    int64_t when;
    struct imap_preview p;

    if (imap_lex_seq_set(lex, &set) && !set.saved) {
        imap_set_init(&made, 1000);
        for (size_t i = 0; i < set.count; i++)
            if (set.ranges[i].first && set.ranges[i].last >= set.ranges[i].first)
                imap_set_add(&made, set.ranges[i].first, set.ranges[i].last);
        for (size_t i = 1; i < made.len; i++)
            assert(made.r[i - 1].last < made.r[i].first - 1);
        imap_set_done(&made);
    }
    imap_flag_list_parse(lex, true, &flags);
    imap_date_time_parse(lex->in, &when);
    imap_date_parse(lex->in, &when);
    for (int html = 0; html < 2; html++) {
        imap_preview_init(&p, html);
        imap_preview_feed(&p, lex->in);
        assert(p.text.len <= IMAP_PREVIEW_BYTES_MAX && codec_utf8_valid(buf_span(&p.text)));
        imap_preview_done(&p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct imap_lex lex;

    if (size == 0)
        return 0;
    arena_init(&a, 2 << 20);
    lex = imap_lex_start(span_make(data + 1, size - 1), &a);
    switch (data[0] % 5) {
    case 0:
        name(lex.in);
        break;
    case 1:
        list(&lex);
        break;
    case 2:
        fetch(&lex);
        break;
    case 3:
        search(&lex);
        break;
    default:
        rest(&lex);
    }
    arena_done(&a);
    return 0;
}
