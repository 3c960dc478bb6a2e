/* What reads along with a handshake: any bytes, whole and in pieces of a size that the first byte chooses,
 * get the same verdict, and a message over the maximum never gets through. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "net/tls.h"
#include "net/tls_bio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many bytes were handed out, and whether it was the guard that ended it. */
static size_t read_all(struct span bytes, size_t step, bool retry, bool *ret_refused)
{
    static const char hello_retry[] =
        "\x16\x03\x03\x00\x50\x02\x00\x00\x4c\x03\x03\xcf\x21\xad\x74\xe5\x9a\x61\x11";
    char to[4096];
    size_t total = 0;
    BIO *bio = net_tls_bio_new(-1, bytes);
    if (retry)
        BIO_write(bio, hello_retry, sizeof hello_retry - 1); /* no descriptor takes it, but it was seen */
    for (int n; total < bytes.len && (n = BIO_read(bio, to, (int)(step < sizeof to ? step : sizeof to))) > 0;)
        total += (size_t)n;
    *ret_refused = net_tls_bio_error(bio) == EMSGSIZE;
    assert(total == bytes.len || *ret_refused);
    BIO_free(bio);
    return total;
}

/* The simplest reader there can be, for one whole plaintext handshake record at the front. */
static bool first_is_too_long(struct span bytes)
{
    return bytes.len >= 9 && bytes.p[0] == 22 && (bytes.p[3] << 8 | bytes.p[4]) >= 4 &&
           (bytes.p[6] << 16 | bytes.p[7] << 8 | bytes.p[8]) > NET_TLS_MESSAGE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    net_tls_bio_init();
    if (size < 2)
        return 0;
    struct span bytes = span_make(data + 1, size - 1);
    bool retry = data[0] & 0x80, whole, pieces, single;
    read_all(bytes, SIZE_MAX, retry, &whole);
    read_all(bytes, 1 + (data[0] & 0x7f), retry, &pieces);
    size_t got = read_all(bytes, 1, retry, &single);
    assert(whole == pieces && pieces == single);
    assert(!first_is_too_long(bytes) || (single && got <= 8));
    return 0;
}
