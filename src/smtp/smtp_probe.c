/* For tests: one SMTP session on standard input and output, with the world of src/smtp/rig.h behind it.
 * usage: smtp_probe [MESSAGE_BYTES_MAX [tls]]
 * tls: as if behind implicit TLS: logins by PLAIN are offered, and the third error ends the session. */
#include <stdlib.h>
#include <unistd.h>

#include "smtp/rig.h"

static bool put(struct rig *r)
{
    size_t at = 0;

    while (at < r->out.len) {
        ssize_t n = write(1, r->out.data + at, r->out.len - at);

        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    buf_reset(&r->out);
    return true;
}

int main(int argc, char **argv)
{
    struct smtp_server_config c;
    struct rig_offers offers = {0};
    bool tls = argc > 2;
    struct rig r;
    uint8_t in[4096];
    ssize_t n = 0;

    smtp_server_config_init(&c, "mx.brant.test");
    if (argc > 1)
        c.message_bytes_max = strtoull(argv[1], NULL, 10);
    if (tls) {
        offers.clear.auth = "PLAIN";
        c.errors_max = 2;
    }
    rig_init(&r, &c);
    rig_offer(&r, &offers);
    if (tls)
        smtp_server_tls_started(r.s, r.now_ms);
    smtp_server_greet(r.s, r.now_ms);
    do {
        rig_feed(&r, span_make(in, (size_t)n));
    } while (put(&r) && !r.closed && (n = read(0, in, sizeof in)) > 0);
    rig_done(&r);
    return 0;
}
