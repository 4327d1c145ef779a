/* The provider of the benchmark: sends answers that were written before it started.
 *
 *   provider PORT [--answer NAME FILE]... [--held NAME HEAD TICK TIMES MS]... [--mark TEXT]...
 *
 * A request says which answer it wants by the words `bench-NAME` in its body. FILE is
 * the whole answer, head and framing included. A held answer is HEAD, then TICK every
 * MS milliseconds, TIMES times, the last time with the end of a chunked body. For each
 * answer it counts the requests, and in how many of them each mark stood, near the
 * beginning or the end; `GET /counts` tells. */
#include "http.h"

enum { ANSWERS = 32, MARKS = 4, EDGE = 8192 };
static const char END[] = "0\r\n\r\n";

struct answer {
  const char *name;
  struct buffer bytes, tick;
  int times, period;
  int64_t asked, marked[MARKS];
};

struct peer {
  int fd;
  bool in_body, writing;
  struct buffer head, own;
  struct framing body;
  char first[EDGE], last[EDGE];
  size_t first_size;
  const char *out;
  size_t out_left;
  struct answer *held;
  int ticks;
  int64_t next_tick;
  struct peer *before, *after;
};

static struct answer answers[ANSWERS];
static const char *marks[MARKS];
static int answer_count, mark_count, epoll;
static struct peer *holding;

/* -- answering ------------------------------------------------------------------ */

static void keep_edges(void *self, const char *data, size_t size) {
  struct peer *p = self;
  size_t room = EDGE - p->first_size, here = size < room ? size : room;
  memcpy(p->first + p->first_size, data, here);
  p->first_size += here;
  if (size >= EDGE) {
    memcpy(p->last, data + size - EDGE, EDGE);
  } else {
    memmove(p->last, p->last + size, EDGE - size);
    memcpy(p->last + EDGE - size, data, size);
  }
}

static const char *find(struct peer *p, const char *text) {
  const char *at = memmem(p->first, p->first_size, text, strlen(text));
  return at || p->body.payload <= EDGE ? at : memmem(p->last, EDGE, text, strlen(text));
}

static struct answer *wanted(struct peer *p) {
  const char *at = find(p, "bench-");
  for (int i = 0; at && i < answer_count; i++) {
    size_t length = strlen(answers[i].name);
    if (!memcmp(at + 6, answers[i].name, length) && at[6 + length] == '"') return &answers[i];
  }
  return NULL;
}

static void say(struct peer *p, const char *type, const char *body, const char *status) {
  char head[256];
  int size = snprintf(head, sizeof head,
                      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status, type,
                      strlen(body));
  p->own.size = 0;
  append(&p->own, head, (size_t)size);
  append(&p->own, body, strlen(body));
  p->out = p->own.data;
  p->out_left = p->own.size;
}

static void tell_counts(struct peer *p) {
  char text[8192];
  int size = snprintf(text, sizeof text, "{");
  for (int i = 0; i < answer_count; i++) {
    size += snprintf(text + size, sizeof text - (size_t)size, "%s\"%s\":[%lld", i ? "," : "",
                     answers[i].name, (long long)answers[i].asked);
    for (int k = 0; k < mark_count; k++)
      size += snprintf(text + size, sizeof text - (size_t)size, ",%lld",
                       (long long)answers[i].marked[k]);
    size += snprintf(text + size, sizeof text - (size_t)size, "]");
  }
  snprintf(text + size, sizeof text - (size_t)size, "}");
  say(p, "application/json", text, "200 OK");
}

static void hold(struct peer *p, struct answer *a) {
  p->held = a;
  p->ticks = a->times;
  p->next_tick = now() + a->period * INT64_C(1000000);
  p->before = NULL;
  p->after = holding;
  if (holding) holding->before = p;
  holding = p;
}

static void release(struct peer *p) {
  if (!p->held) return;
  if (p->before) p->before->after = p->after;
  else holding = p->after;
  if (p->after) p->after->before = p->before;
  p->held = NULL;
}

static bool flush(struct peer *p) {
  while (p->out_left) {
    size_t size = p->out_left < PIECE ? p->out_left : PIECE;
    ssize_t sent = send(p->fd, p->out, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) break;
    p->out += sent;
    p->out_left -= (size_t)sent;
  }
  if (p->writing != (p->out_left > 0)) {
    p->writing = p->out_left > 0;
    watch(epoll, EPOLL_CTL_MOD, p->fd, p->writing ? EPOLLIN | EPOLLOUT : EPOLLIN, p);
  }
  return true;
}

static void tick(struct peer *p, int64_t time) {
  struct answer *a = p->held;
  if (p->out_left && p->out != p->own.data) {
    p->own.size = 0;
    append(&p->own, p->out, p->out_left);
  } else if (p->out_left) {
    p->own.size = p->out_left;
  } else {
    p->own.size = 0;
  }
  append(&p->own, a->tick.data, a->tick.size);
  if (!--p->ticks) append(&p->own, END, sizeof END - 1);
  p->out = p->own.data;
  p->out_left = p->own.size;
  p->next_tick = time + a->period * INT64_C(1000000);
  if (!p->ticks) release(p);
}

static bool answer(struct peer *p) {
  struct answer *a = p->body.payload ? wanted(p) : NULL;
  if (!p->body.payload) {
    tell_counts(p);
  } else if (!a) {
    say(p, "text/plain", "no such answer", "404 Not Found");
  } else {
    a->asked++;
    for (int i = 0; i < mark_count; i++) a->marked[i] += find(p, marks[i]) != NULL;
    p->out = a->bytes.data;
    p->out_left = a->bytes.size;
    if (a->times) hold(p, a);
  }
  return flush(p);
}

/* -- reading -------------------------------------------------------------------- */

static size_t read_head(struct peer *p, const char *data, size_t size) {
  size_t had = p->head.size, from = had < 3 ? 0 : had - 3;
  append(&p->head, data, size);
  char *end = memmem(p->head.data + from, p->head.size - from, "\r\n\r\n", 4);
  if (!end) return size;
  size_t head = (size_t)(end + 4 - p->head.data);
  p->body = framing_of(p->head.data, head, true);
  p->in_body = true;
  p->first_size = 0;
  p->head.size = 0;
  return head - had;
}

static bool read_some(struct peer *p) {
  static char piece[PIECE];
  ssize_t got = recv(p->fd, piece, sizeof piece, 0);
  if (got <= 0) return got < 0 && errno == EAGAIN;
  for (size_t at = 0, size = (size_t)got; at < size;) {
    if (!p->in_body) at += read_head(p, piece + at, size - at);
    if (p->in_body) at += take(&p->body, piece + at, size - at, keep_edges, p);
    if (p->in_body && p->body.done) {
      p->in_body = false;
      if (!answer(p)) return false;
    }
  }
  return true;
}

static void drop(struct peer *p) {
  release(p);
  close(p->fd);
  free(p->head.data);
  free(p->own.data);
  free(p);
}

static void greet(int listening) {
  int fd, one = 1;
  while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    struct peer *p = calloc(1, sizeof *p);
    if (!p) die("calloc");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->fd = fd;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, p);
  }
}

static void tick_all(void) {
  int64_t time = now();
  for (struct peer *p = holding, *after; p; p = after) {
    after = p->after;
    if (p->next_tick > time) continue;
    tick(p, time);
    if (!flush(p)) drop(p);
  }
}

/* -- running -------------------------------------------------------------------- */

static int listen_on(int port) {
  int one = 1, fd = plain_socket();
  struct sockaddr_in address = loopback(port);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (void *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die("listen");
  return fd;
}

static void read_arguments(int count, char **words) {
  for (int i = 2; i < count; i++) {
    struct answer *a = &answers[answer_count];
    if (!strcmp(words[i], "--mark") && i + 1 < count && mark_count < MARKS) {
      marks[mark_count++] = words[++i];
    } else if (!strcmp(words[i], "--answer") && i + 2 < count && answer_count < ANSWERS) {
      a->name = words[i + 1];
      a->bytes = contents(words[i + 2]);
      answer_count++, i += 2;
    } else if (!strcmp(words[i], "--held") && i + 5 < count && answer_count < ANSWERS) {
      a->name = words[i + 1];
      a->bytes = contents(words[i + 2]);
      a->tick = contents(words[i + 3]);
      a->times = atoi(words[i + 4]);
      a->period = atoi(words[i + 5]);
      answer_count++, i += 5;
    } else {
      fprintf(stderr, "provider: cannot read %s\n", words[i]);
      exit(2);
    }
  }
}

int main(int count, char **words) {
  static struct epoll_event events[EVENTS];
  if (count < 2) return 2;
  read_arguments(count, words);
  epoll = epoll_create1(0);
  int listening = listen_on(atoi(words[1]));
  watch(epoll, EPOLL_CTL_ADD, listening, EPOLLIN, NULL);
  for (;;) {
    int ready = epoll_wait(epoll, events, EVENTS, holding ? 5 : -1);
    for (int i = 0; i < ready; i++) {
      struct peer *p = events[i].data.ptr;
      uint32_t what = events[i].events;
      if (!p) {
        greet(listening);
        continue;
      }
      bool good = !(what & EPOLLOUT) || flush(p);
      if (good && (what & (EPOLLIN | EPOLLHUP | EPOLLERR))) good = read_some(p);
      if (!good) drop(p);
    }
    if (holding) tick_all();
  }
}
