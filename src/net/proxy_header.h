/* The header of the PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), which a trusted load
 * balancer sends in front of a connection. A pure function over bytes; the caller decides who is trusted,
 * waits for the header before anything else and limits the time. */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include "base/ip.h"

enum {
    NET_PROXY_V1_BYTES_MAX = 107,        /* the line with its CRLF (2.1) */
    NET_PROXY_V2_BLOCK_BYTES_MAX = 2048, /* what may follow the first 16 bytes: ours, not the protocol's */
    NET_PROXY_BYTES_MAX = 16 + NET_PROXY_V2_BLOCK_BYTES_MAX /* more bytes never change the answer */
};

enum net_proxy_kind {
    NET_PROXY_LOCAL,   /* the balancer's own connection, a health check: its own address counts */
    NET_PROXY_UNKNOWN, /* no address of the Internet is known: the connection's own address counts */
    NET_PROXY_PROXIED  /* source and destination are set */
};

struct net_proxy {
    enum net_proxy_kind kind;
    struct ip_addr source, destination; /* with ports; family IP_NONE unless proxied; IPv4-mapped is IPv4 */
};

/* Reads the header at the front of what has arrived so far, always from the connection's first byte on.
 *
 * BRANT_OK: *ret is set, and *ret_len to the length of the header; what follows belongs to the client.
 * BRANT_ETRYLATER: good so far, more bytes are needed.
 * BRANT_ESYNTAX: no header, or a malformed one: the connection must be closed without a word. Said with the
 *     first byte that cannot belong to one; a number or address is judged when it is complete.
 * BRANT_ELIMIT: a version 1 line without an end in NET_PROXY_V1_BYTES_MAX, or a version 2 length over
 *     NET_PROXY_V2_BLOCK_BYTES_MAX.
 *
 * Version 1: TCP4, TCP6, UNKNOWN (the rest of whose line is ignored). Version 2: LOCAL (its block is
 * ignored); PROXY over STREAM with AF_INET and AF_INET6; AF_UNSPEC and AF_UNIX are UNKNOWN; datagrams are
 * malformed. TLVs must fit; a CRC32C among them must be right; all others are ignored. */
int net_proxy_parse(struct span in, struct net_proxy *ret, size_t *ret_len);

#endif
