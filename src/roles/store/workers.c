#include "roles/store/workers.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

struct work_list {
    struct work *first, **end;
};

struct worker {
    struct workers *pool;
    unsigned index;
    pthread_t thread;
};

struct workers {
    struct workers_config config;
    struct worker threads[WORKERS_THREADS_MAX];
    unsigned thread_count;
    int fd;
    size_t pending; /* of the event loop */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake;
    struct work_list todo, done;
    bool stop;
};

static void list_init(struct work_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_push(struct work_list *l, struct work *work)
{
    work->next = NULL;
    *l->end = work;
    l->end = &work->next;
}

static struct work *list_pop(struct work_list *l)
{
    struct work *work = l->first;
    if (!work)
        return NULL;
    l->first = work->next;
    if (!l->first)
        l->end = &l->first;
    return work;
}

static void *work_loop(void *context)
{
    struct worker *self = context;
    struct workers *w = self->pool;
    void *state = w->config.states ? w->config.states[self->index] : NULL;
    if (w->config.nice) /* without the right to be nicer it is only less nice */
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), w->config.nice);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->todo.first && !w->stop)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->stop)
            break;
        struct work *work = list_pop(&w->todo);
        pthread_mutex_unlock(&w->lock);
        work->run(work, state);
        pthread_mutex_lock(&w->lock);
        list_push(&w->done, work);
        uint64_t one = 1;
        ssize_t wrote = write(w->fd, &one, sizeof one);
        assert(wrote == sizeof one);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_new(const struct workers_config *config)
{
    assert(config->threads >= 1 && config->threads <= WORKERS_THREADS_MAX);
    struct workers *w = mem_zalloc(sizeof *w);
    w->config = *config;
    list_init(&w->todo);
    list_init(&w->done);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    while (w->fd >= 0 && w->thread_count < config->threads) {
        struct worker *t = &w->threads[w->thread_count];
        *t = (struct worker){.pool = w, .index = w->thread_count};
        if (pthread_create(&t->thread, NULL, work_loop, t) != 0)
            break;
        w->thread_count++;
    }
    if (w->thread_count < config->threads) {
        workers_free(w, NULL);
        return NULL;
    }
    return w;
}

void workers_free(struct workers *w, void (*drop)(struct work *work))
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i].thread, NULL);
    struct work_list *lists[2] = {&w->todo, &w->done};
    for (size_t i = 0; i < 2; i++)
        for (struct work *work; (work = list_pop(lists[i])) != NULL;)
            if (drop)
                drop(work);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

int workers_fd(const struct workers *w)
{
    return w->fd;
}

size_t workers_pending(const struct workers *w)
{
    return w->pending;
}

int workers_submit(struct workers *w, struct work *work)
{
    if (w->pending >= w->config.queue_max)
        return BRANT_ELIMIT;
    w->pending++;
    pthread_mutex_lock(&w->lock);
    list_push(&w->todo, work);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    return BRANT_OK;
}

struct work *workers_next(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    struct work *work = list_pop(&w->done);
    if (!work) { /* under the lock, so that no wake-up is lost */
        uint64_t count;
        ssize_t got = read(w->fd, &count, sizeof count);
        (void)got; /* EAGAIN: it was not set */
    }
    pthread_mutex_unlock(&w->lock);
    if (work)
        w->pending--;
    return work;
}
