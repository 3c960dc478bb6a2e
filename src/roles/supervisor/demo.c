/* The whole system beneath one directory, for trying it out. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "net/channel.h"
#include "os/sandbox.h"
#include "roles/supervisor/internal.h"
#include "roles/supervisor/supervisor.h"

#define DEMO_DOMAIN   "brant.test"
#define DEMO_PASSWORD "brant-demo"

enum {
    SMTP_PORT = 25,
    POP3_PORT = 110,
    IMAP_PORT = 143,
    SUBMISSIONS_PORT = 465,
    SUBMISSION_PORT = 587,
    IMAPS_PORT = 993,
    POP3S_PORT = 995,
    DIR_MAX = 200
};

static const char *const demo_accounts[] = {"alice@" DEMO_DOMAIN, "bob@" DEMO_DOMAIN, "carol@" DEMO_DOMAIN};
enum { ACCOUNTS = sizeof demo_accounts / sizeof *demo_accounts };

struct demo {
    struct supervisor *sup;
    char dir[DIR_MAX];
    unsigned port_base;
    struct net_channel *store;
    unsigned answers; /* of the domain and the accounts */
};

/* --- preparing --------------------------------------------------------------------------------------------
 */

static void write_listeners(const struct demo *d, FILE *f)
{
    static const struct {
        const char *key;
        unsigned port;
    } listeners[] = {{"listen.smtp", SMTP_PORT},
                     {"listen.submission", SUBMISSION_PORT},
                     {"listen.submissions", SUBMISSIONS_PORT},
                     {"listen.pop3", POP3_PORT},
                     {"listen.pop3s", POP3S_PORT},
                     {"listen.imap", IMAP_PORT},
                     {"listen.imaps", IMAPS_PORT}};
    for (size_t n = 0; n < sizeof listeners / sizeof *listeners; n++)
        fprintf(f, "%s = 127.0.0.1:%u\n", listeners[n].key, d->port_base + listeners[n].port);
    fprintf(f,
            "submission_socket = \"%s/submission.sock\"\n"
            "lmtp_socket = \"%s/lmtp.sock\"\n",
            d->dir, d->dir);
}

static int write_config(const struct demo *d)
{
    char path[DIR_MAX + 16];
    snprintf(path, sizeof path, "%s/brant.conf", d->dir);
    FILE *f = fopen(path, "we");
    if (!f) {
        fprintf(stderr, "brant demo: cannot write %s: %s\n", path, strerror(errno));
        return BRANT_EIO;
    }
    fprintf(f,
            "# Written by `brant demo` at every start.\n"
            "hostname = mx." DEMO_DOMAIN "\n"
            "data_dir = \"%s/store\"\n"
            "keys_dir = \"%s/keys\"\n"
            "run_dir = \"%s\"\n"
            "log_file = \"%s/log\"\n",
            d->dir, d->dir, d->dir, d->dir);
    write_listeners(d, f);
    fprintf(f, "# For trying everything out on one machine, in clear too, as often as one likes.\n"
               "cleartext_auth = loopback\n"
               "auth.default_domain = " DEMO_DOMAIN "\n"
               "tls.client_certificate = all\n"
               "submission.messages_per_hour = 0\n"
               "submission.recipients_per_day = 0\n"
               "max_connections_per_source = 5000\n"
               "pop3_max_sessions = 5000\n"
               "imap_max_sessions = 5000\n");
    if (fclose(f) != 0)
        return BRANT_EIO;
    return BRANT_OK;
}

static int make_dir(struct demo *d, const char *dir)
{
    char whole[PATH_MAX];
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "brant demo: cannot make %s: %s\n", dir, strerror(errno));
        return BRANT_EIO;
    }
    if (!realpath(dir, whole) || strlen(whole) >= 80 || strpbrk(whole, "\"\\")) {
        fprintf(stderr, "brant demo: the name of the directory is too long, or has quotes in it: %s\n", dir);
        return BRANT_ELIMIT;
    }
    snprintf(d->dir, sizeof d->dir, "%s", whole);
    return BRANT_OK;
}

/* --- accounts, through the same messages as the command line's ---------------------------------------------
 */

static void announce_services(const struct demo *d)
{
    unsigned p = d->port_base;
    printf("brant is running beneath %s; its log is %s/log\n\n"
           "Accounts: alice, bob and carol @" DEMO_DOMAIN ", password " DEMO_PASSWORD "\n"
           "Services on 127.0.0.1 (the certificate is self-signed):\n"
           "  %5u  SMTP, as from other servers\n"
           "  %5u  submission (STARTTLS)      %5u  submission (TLS)\n"
           "  %5u  IMAP (STARTTLS)            %5u  IMAP (TLS)\n"
           "  %5u  POP3 (STLS)                %5u  POP3 (TLS)\n\n",
           d->dir, d->dir, p + SMTP_PORT, p + SUBMISSION_PORT, p + SUBMISSIONS_PORT, p + IMAP_PORT,
           p + IMAPS_PORT, p + POP3_PORT, p + POP3S_PORT);
}

static void announce(const struct demo *d)
{
    announce_services(d);
    printf("Send a message (in another terminal):\n"
           "  printf 'From: bob@" DEMO_DOMAIN "\\nTo: alice@" DEMO_DOMAIN
           "\\nSubject: Hello\\n\\nIt works.\\n' |\n"
           "    curl -sk --crlf smtps://127.0.0.1:%u -u bob@" DEMO_DOMAIN ":" DEMO_PASSWORD
           " --mail-from bob@" DEMO_DOMAIN " --mail-rcpt alice@" DEMO_DOMAIN " -T -\n"
           "or, with swaks:\n"
           "  swaks --server 127.0.0.1:%u -tls -a PLAIN -au bob@" DEMO_DOMAIN " -ap " DEMO_PASSWORD
           " --from bob@" DEMO_DOMAIN " --to alice@" DEMO_DOMAIN "\n\n"
           "Read it, by IMAP or by POP3:\n"
           "  curl -sk 'imaps://127.0.0.1:%u/INBOX;MAILINDEX=1' -u alice@" DEMO_DOMAIN ":" DEMO_PASSWORD "\n"
           "  curl -sk pop3s://127.0.0.1:%u/1 -u alice@" DEMO_DOMAIN ":" DEMO_PASSWORD "\n\n"
           "Look around:\n"
           "  %s/brant --dir %s status\n"
           "  %s/brant --dir %s account list\n\n"
           "Ctrl-C stops it.\n",
           d->port_base + SUBMISSIONS_PORT, d->port_base + SUBMISSION_PORT, d->port_base + IMAPS_PORT,
           d->port_base + POP3S_PORT, d->sup->bin_dir, d->dir, d->sup->bin_dir, d->dir);
    printf("ready\n");
    fflush(stdout);
}

static void give_up(struct demo *d, const char *why, struct span text)
{
    fprintf(stderr, "brant demo: %s %.*s\n", why, SPAN_ARG(text));
    sup_stop(d->sup, true);
}

static void on_answer(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct demo *d = context;
    (void)c;
    if (m->type != IPC_TYPE_RESULT)
        return;
    if (m->result.status != IPC_OK && m->result.status != IPC_EXISTS) {
        give_up(d, "the store refused to make the accounts:", m->result.text);
        return;
    }
    if (++d->answers == ACCOUNTS + 1) {
        net_channel_free(d->store);
        d->store = NULL;
        announce(d);
    }
}

static void on_channel_ended(void *context, struct net_channel *c, enum net_channel_end end, const char *text)
{
    struct demo *d = context;
    (void)end;
    net_channel_free(c);
    d->store = NULL;
    if (!d->sup->stopping)
        give_up(d, "the store went away while the accounts were made:", span_str(text));
}

static const struct net_channel_ops channel_ops = {.message = on_answer, .ended = on_channel_ended};

static void make_accounts(struct supervisor *s)
{
    struct demo *d = s->on_ready_context;
    int fd;
    if (sup_attach(s, &fd) < 0) {
        give_up(d, "no channel to the store", SPAN_LIT(""));
        return;
    }
    d->store = net_channel_new(&s->loop, fd, IPC_ROLE_CLI, IPC_ROLE_STORE, 1, &channel_ops, d);
    struct ipc_message m = {.type = IPC_TYPE_DOMAIN_ADD, .tag = 1};
    m.domain_add.domain = SPAN_LIT(DEMO_DOMAIN);
    net_channel_send(d->store, &m);
    for (uint32_t n = 0; n < ACCOUNTS; n++) {
        m = (struct ipc_message){.type = IPC_TYPE_ACCOUNT_ADD, .tag = 2 + n};
        m.account_add.address = span_str(demo_accounts[n]);
        m.account_add.password = SPAN_LIT(DEMO_PASSWORD);
        net_channel_send(d->store, &m);
    }
}

int supervisor_demo(const char *dir, unsigned port_base)
{
    struct demo d = {.port_base = port_base};
    if (port_base > 65535 - 4190) {
        fprintf(stderr, "brant demo: a port base is at most %d\n", 65535 - 4190);
        return 1;
    }
    umask(077);
    if (make_dir(&d, dir) < 0 || write_config(&d) < 0)
        return 1;
    if (sandbox_is_test_build())
        fprintf(stderr, "brant demo: this is a test build, its sandbox is wide\n");
    char config[DIR_MAX + 16];
    snprintf(config, sizeof config, "%s/brant.conf", d.dir);
    struct supervisor *s = sup_new("brant demo");
    d.sup = s;
    s->config_path = config;
    s->on_ready = make_accounts;
    s->on_ready_context = &d;
    conf_done(&s->conf);
    int status = 1;
    if (sup_read_config(config, &s->conf) < 0)
        conf_init(&s->conf);
    else if (sup_prepare_dirs(&s->conf, true) == BRANT_OK)
        status = sup_run(s);
    net_channel_free(d.store);
    sup_free(s);
    return status;
}
