/* Frames on a channel between two processes. A frame is a message as ipc_encode writes it:
 *   u32 length (header included), u16 type, u16 IPC_VERSION, u32 tag, fields
 * A reader gathers the bytes of a stream and cuts them into frames; the sender is taken as hostile. */
#ifndef IPC_FRAME_H
#define IPC_FRAME_H

#include "base/buf.h"

enum { IPC_HEADER_BYTES = 12 };

struct ipc_reader {
    struct buf in;
    size_t taken; /* bytes of `in` that were handed out */
};

void ipc_reader_init(struct ipc_reader *r);
void ipc_reader_done(struct ipc_reader *r);

/* Takes bytes from the stream, as many as there is room for; returns how many. With every frame taken out
 * before more is fed there is always room for at least one byte. */
size_t ipc_reader_feed(struct ipc_reader *r, struct span bytes);

/* The next whole frame, valid until the next call on the reader. BRANT_ETRYLATER: not there yet;
 * BRANT_ESYNTAX or BRANT_ELIMIT: the length makes no sense or is over IPC_FRAME_MAX; the channel is lost. */
int ipc_reader_next(struct ipc_reader *r, struct span *ret);

#endif
