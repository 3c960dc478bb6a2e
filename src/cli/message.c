#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>

#include "mime/explain.h"

enum { PIECE = 65536 };
#define MESSAGE_BYTES_MAX ((size_t)256 << 20)

static int usage(void)
{
    fputs("usage: brant message FILE [--json]   (FILE may be - for standard input)\n", stderr);
    return 2;
}

static int file_read(FILE *f, const char *name, struct buf *out)
{
    size_t got;

    do {
        uint8_t *room = buf_reserve(out, PIECE);

        if (!room) {
            fprintf(stderr, "brant message: %s: larger than %zu bytes\n", name, MESSAGE_BYTES_MAX);
            return 1;
        }
        got = fread(room, 1, PIECE, f);
        buf_commit(out, got);
    } while (got);
    if (!ferror(f))
        return 0;
    fprintf(stderr, "brant message: %s: %s\n", name, strerror(errno));
    return 1;
}

static int message_load(const char *name, struct buf *out)
{
    bool standard = strcmp(name, "-") == 0;
    FILE *f = standard ? stdin : fopen(name, "rb");
    int status;

    if (!f) {
        fprintf(stderr, "brant message: %s: %s\n", name, strerror(errno));
        return 1;
    }
    status = file_read(f, name, out);
    if (!standard)
        fclose(f);
    return status;
}

static int message_show(struct span message, bool json)
{
    struct mime_parser *p = mime_parser_new(NULL);
    struct buf out;
    bool good;

    buf_init(&out, 16 * message.len + (64 << 20));
    mime_parser_feed(p, message);
    mime_parser_finish(p);
    good = (json ? mime_explain_json(p, message, &out) : mime_explain_text(p, message, &out)) == 0;
    if (good)
        good = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    if (!good)
        fputs("brant message: the explanation could not be written\n", stderr);
    buf_done(&out);
    mime_parser_free(p);
    return good ? 0 : 1;
}

int cli_message(int argc, char **argv)
{
    const char *name = NULL;
    bool json = false;
    struct buf message;
    int status;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (name || (argv[i][0] == '-' && argv[i][1]))
            return usage();
        else
            name = argv[i];
    }
    if (!name)
        return usage();
    buf_init(&message, MESSAGE_BYTES_MAX);
    status = message_load(name, &message);
    if (status == 0)
        status = message_show(buf_span(&message), json);
    buf_done(&message);
    return status;
}
