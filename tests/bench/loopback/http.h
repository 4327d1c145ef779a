/* What the provider and the client of the benchmark have in common: just enough of
 * HTTP/1.1 for programs that trust each other, and nothing that allocates per piece. */
#ifndef IMAGEGATE_BENCH_HTTP_H
#define IMAGEGATE_BENCH_HTTP_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, EVENTS = 512 };

static inline int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static inline void die(const char *what) {
  perror(what);
  exit(2);
}

/* -- bytes that grow ------------------------------------------------------------ */

struct buffer {
  char *data;
  size_t size, room;
};

static inline void append(struct buffer *b, const char *data, size_t size) {
  if (b->size + size > b->room) {
    b->room = 2 * (b->size + size);
    if (!(b->data = realloc(b->data, b->room))) die("realloc");
  }
  memcpy(b->data + b->size, data, size);
  b->size += size;
}

static inline struct buffer contents(const char *path) {
  struct buffer b = {0};
  static char piece[PIECE];
  size_t got;
  FILE *file = fopen(path, "rb");
  if (!file) die(path);
  while ((got = fread(piece, 1, sizeof piece, file)) > 0) append(&b, piece, got);
  fclose(file);
  return b;
}

/* -- heads ---------------------------------------------------------------------- */

/* Where the value of a header begins; NULL when a head has no such line. */
static inline const char *header(const char *head, size_t size, const char *name) {
  size_t length = strlen(name);
  const char *end = head + size, *line = memchr(head, '\n', size);
  while (line && ++line + length < end) {
    if (!strncasecmp(line, name, length) && line[length] == ':') {
      line += length + 1;
      return line + strspn(line, " \t");
    }
    line = memchr(line, '\n', (size_t)(end - line));
  }
  return NULL;
}

/* -- bodies --------------------------------------------------------------------- */

enum kind { BY_LENGTH, BY_CHUNKS, BY_CLOSE };
enum at { AT_SIZE, AT_EXTENSION, AT_DATA, AT_DATA_END, AT_TRAILER };

struct framing {
  enum kind kind;
  enum at at;
  int64_t left, payload;
  int line;
  bool done;
};

static inline struct framing framing_of(const char *head, size_t size, bool request) {
  struct framing f = {.kind = request ? BY_LENGTH : BY_CLOSE};
  const char *length = header(head, size, "content-length");
  const char *coding = header(head, size, "transfer-encoding");
  if (coding && !strncasecmp(coding, "chunked", 7)) {
    f.kind = BY_CHUNKS;
  } else if (length) {
    f.kind = BY_LENGTH;
    f.left = atoll(length);
  }
  f.done = f.kind == BY_LENGTH && !f.left;
  return f;
}

static inline void after_size(struct framing *f) {
  f->at = f->left ? AT_DATA : AT_TRAILER;
  f->line = 0;
}

/* One character of what stands around the data of chunks. */
static inline void around(struct framing *f, char c) {
  switch (f->at) {
    case AT_SIZE:
      if (c >= '0' && c <= '9') f->left = f->left * 16 + c - '0';
      else if ((c | 32) >= 'a' && (c | 32) <= 'f') f->left = f->left * 16 + (c | 32) - 'a' + 10;
      else if (c == ';') f->at = AT_EXTENSION;
      else if (c == '\n') after_size(f);
      break;
    case AT_EXTENSION:
      if (c == '\n') after_size(f);
      break;
    case AT_DATA_END:
      if (c == '\n') f->at = AT_SIZE;
      break;
    case AT_TRAILER:
      if (c == '\n') {
        f->done = !f->line;
        f->line = 0;
      } else if (c != '\r') {
        f->line++;
      }
      break;
    case AT_DATA:
      break;
  }
}

/* Takes bytes of a body; `keep` sees the payload. Returns how many belonged to it. */
static inline size_t take(struct framing *f, const char *data, size_t size,
                          void (*keep)(void *, const char *, size_t), void *self) {
  size_t at = 0;
  while (at < size && !f->done) {
    if (f->kind == BY_CHUNKS && f->at != AT_DATA) {
      around(f, data[at++]);
      continue;
    }
    size_t here = size - at;
    if (f->kind != BY_CLOSE && (int64_t)here > f->left) here = (size_t)f->left;
    f->payload += (int64_t)here;
    f->left -= (int64_t)here;
    if (keep) keep(self, data + at, here);
    at += here;
    if (f->kind == BY_CHUNKS && !f->left) f->at = AT_DATA_END;
    if (f->kind == BY_LENGTH && !f->left) f->done = true;
  }
  return at;
}

/* -- sockets -------------------------------------------------------------------- */

static inline struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int plain_socket(void) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static inline void watch(int epoll, int how, int fd, uint32_t events, void *who) {
  struct epoll_event event = {.events = events, .data.ptr = who};
  if (epoll_ctl(epoll, how, fd, &event) < 0) die("epoll_ctl");
}

#endif
