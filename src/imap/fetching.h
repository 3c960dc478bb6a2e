/* FETCH between its files; nobody else includes it. */
#ifndef IMAP_FETCHING_H
#define IMAP_FETCHING_H

#include "imap/server_internal.h"

/* Begins the item's text in f->item: its name and a space. */
void imap_item_begin(struct imap_fetch_run *f);

/* fetch_body.c: items that are bytes of the message. The text before the bytes is in f->item. */
void imap_body_begin(struct imap_server *s, struct imap_fetch_run *f, const struct imap_fetch_item *item,
                     const struct imap_entry *e);
/* Asks for bytes when it is time. IMAP_EVENT_MORE: not now; f->item may go out (unless BODY_COUNT). */
enum imap_event_type imap_body_step(struct imap_server *s, struct imap_fetch_run *f,
                                    const struct imap_entry *e, struct imap_event *ret);
void imap_body_failed(struct imap_server *s, struct imap_fetch_run *f);
void imap_body_end(struct imap_fetch_run *f);
/* PREVIEW */
void imap_preview_begin(struct imap_server *s, struct imap_fetch_run *f);
enum imap_event_type imap_preview_step(struct imap_server *s, struct imap_fetch_run *f,
                                       const struct imap_entry *e, struct imap_event *ret);
void imap_preview_failed(struct imap_fetch_run *f);

#endif
