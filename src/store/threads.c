/* The steps on threads of their own. Each sleeps until there may be something for it. */
#include <errno.h>
#include <time.h>

#include "base/err.h"
#include "store/state.h"

static int64_t now(struct store *st)
{
    return st->seam.now_ms(st->seam.ctx);
}

/* Under lock. */
static void sleep_ms(struct store *st, pthread_cond_t *cond, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(cond, &st->lock, &until);
}

static void *writer_main(void *arg)
{
    struct store *st = arg;

    pthread_mutex_lock(&st->lock);
    while (!st->stopping) {
        int rc;

        st->wake = false;
        pthread_mutex_unlock(&st->lock);
        rc = store_writer_step(st, now(st));
        if (rc == BRANT_EIO) {
            if (st->on_fatal)
                st->on_fatal(st->on_fatal_ctx);
            return NULL;
        }
        pthread_mutex_lock(&st->lock);
        while (!rc && !st->stopping && !st->wake)
            pthread_cond_wait(&st->writer_cond, &st->lock);
    }
    pthread_mutex_unlock(&st->lock);
    return NULL;
}

static void *apply_main(void *arg)
{
    struct store *st = arg;

    pthread_mutex_lock(&st->lock);
    while (!st->stopping || st->queue) {
        bool stopping = st->stopping;
        int rc;

        if (!st->queue) {
            pthread_cond_wait(&st->apply_cond, &st->lock);
            continue;
        }
        pthread_mutex_unlock(&st->lock);
        rc = store_apply_step(st, now(st));
        pthread_mutex_lock(&st->lock);
        if (rc < 0 && (stopping || atomic_load(&st->dead)))
            break; /* the next start applies it */
        if (rc <= 0)
            sleep_ms(st, &st->apply_cond, rc < 0 ? 200 : st->config.apply_gather_ms);
    }
    pthread_mutex_unlock(&st->lock);
    return NULL;
}

/* Checkpoints and compaction: soon again while there is something to do, else a look now and then. */
static void care_loop(struct store *st, int (*step)(struct store *, int64_t), int64_t busy_ms,
                      int64_t idle_ms)
{
    pthread_mutex_lock(&st->lock);
    while (!st->stopping) {
        int rc;

        pthread_mutex_unlock(&st->lock);
        rc = step(st, now(st));
        pthread_mutex_lock(&st->lock);
        if (!st->stopping)
            sleep_ms(st, &st->care_cond, rc > 0 ? busy_ms : idle_ms);
    }
    pthread_mutex_unlock(&st->lock);
}

static void *checkpoint_main(void *arg)
{
    care_loop(arg, store_checkpoint_step, 200, 1000);
    return NULL;
}

static void *compaction_main(void *arg)
{
    care_loop(arg, store_compaction_step, 1, 100);
    return NULL;
}

int store_threads_start(struct store *st)
{
    static void *(*const mains[])(void *) = {writer_main, apply_main, checkpoint_main, compaction_main};

    st->stopping = false;
    st->threads_running = true;
    for (size_t i = 0; i < sizeof mains / sizeof mains[0]; i++) {
        if (pthread_create(&st->threads[i], NULL, mains[i], st)) {
            store_threads_stop(st);
            return BRANT_EIO;
        }
        st->thread_count++;
    }
    return BRANT_OK;
}

void store_threads_stop(struct store *st)
{
    if (!st->threads_running)
        return;
    pthread_mutex_lock(&st->lock);
    st->stopping = true;
    pthread_cond_broadcast(&st->writer_cond);
    pthread_cond_broadcast(&st->apply_cond);
    pthread_cond_broadcast(&st->applied_cond);
    pthread_cond_broadcast(&st->care_cond);
    pthread_mutex_unlock(&st->lock);
    while (st->thread_count)
        pthread_join(st->threads[--st->thread_count], NULL);
    st->threads_running = false;
    st->stopping = false;
}
