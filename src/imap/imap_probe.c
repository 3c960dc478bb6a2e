/* For tests: IMAP sessions on the descriptors named on the command line, all on one store in memory
 * (src/imap/rig.h), until all of them are closed. With "stingy" before them the store gives one thing at a
 * time.
 */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "imap/rig.h"

static bool put(int fd, struct rig *r)
{
    size_t at = 0;

    while (at < r->out.len) {
        ssize_t n = write(fd, r->out.data + at, r->out.len - at);

        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    buf_reset(&r->out);
    return true;
}

int main(int argc, char **argv)
{
    static struct rig_store store;
    static struct rig rigs[RIG_SESSIONS_MAX];
    struct pollfd fds[RIG_SESSIONS_MAX];
    bool stingy = argc > 1 && strcmp(argv[1], "stingy") == 0;
    int count, open;
    static uint8_t in[65536];

    argc -= stingy;
    argv += stingy;
    open = count = argc - 1 < RIG_SESSIONS_MAX ? argc - 1 : RIG_SESSIONS_MAX;
    rig_store_init(&store);
    if (stingy)
        store.entries_max = store.read_max = store.ranges_max = store.store_max = store.boxes_max = 1;
    for (int i = 0; i < count; i++) {
        fds[i] = (struct pollfd){(int)strtol(argv[i + 1], NULL, 10), POLLIN, 0};
        rig_init(&rigs[i], &store, NULL, NULL);
        put(fds[i].fd, &rigs[i]);
    }
    while (open > 0 && poll(fds, (nfds_t)count, -1) > 0) {
        for (int i = 0; i < count; i++) {
            ssize_t n;

            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            n = read(fds[i].fd, in, sizeof in);
            if (n > 0)
                rig_feed(&rigs[i], span_make(in, (size_t)n));
            if (n <= 0)
                imap_server_end(rigs[i].s, IMAP_CLOSE_LOST);
            for (int k = 0; k < count; k++)
                if (fds[k].fd >= 0)
                    put(fds[k].fd, &rigs[k]);
            if (n <= 0 || rigs[i].closed) {
                close(fds[i].fd);
                fds[i].fd = -1;
                open--;
            }
        }
    }
    for (int i = 0; i < count; i++)
        rig_done(&rigs[i]);
    rig_store_done(&store);
    return 0;
}
