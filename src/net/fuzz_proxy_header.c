/* Any bytes as a PROXY protocol header: what arrives in pieces gets the answer of the whole, and an answer
 * that was given once stays. */
#include <stdlib.h>

#include "base/err.h"
#include "net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_proxy whole = {0};
    size_t len = 0;
    int rc = net_proxy_parse(span_make(data, size), &whole, &len);

    if (rc == BRANT_OK && (len == 0 || len > size || len > NET_PROXY_BYTES_MAX))
        abort();
    if (rc == BRANT_ETRYLATER && size >= NET_PROXY_BYTES_MAX)
        abort();
    if (rc == BRANT_OK && (whole.kind == NET_PROXY_PROXIED) != (whole.source.family != IP_NONE))
        abort();
    for (size_t cut = 0; cut < size && cut <= NET_PROXY_BYTES_MAX; cut++) {
        struct net_proxy part = {0};
        size_t part_len = 0;
        int got = net_proxy_parse(span_make(data, cut), &part, &part_len);

        if (got == BRANT_ETRYLATER)
            continue;
        if (got != rc || part_len != len || part.kind != whole.kind || !ip_eq(&part.source, &whole.source))
            abort();
        break;
    }
    return 0;
}
