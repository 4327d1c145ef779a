/* The client of the benchmark: one request, again and again, over many connections.
 *
 *   client --port PORT --body FILE --connections N
 *          (--seconds S [--rate R] | --requests N | --stalled S) [--length N]
 *
 * Without a rate each connection asks again as soon as it has its answer. With one,
 * requests begin when they are due, and latency counts from then: a late answer delays
 * no later request on paper. `--stalled` reads the beginning of each answer, and then
 * nothing for S seconds. An answer counts when its status is 200, its framing whole and
 * its payload as long as `--length` says. Prints one JSON object. */
#include "http.h"

enum state { CLOSED, CONNECTING, SENDING, WAITING, READING };
enum { LONGEST_WAIT = 30, ERRORS_AT_MOST = 1000 };

struct link {
  int fd;
  enum state state;
  bool writing, closing, stalled;
  size_t sent;
  struct buffer head;
  struct framing body;
  int64_t due, first;
  int status;
};

static struct {
  const char *body;
  int port, connections;
  double seconds, rate, stalled;
  int64_t requests, length;
} want = {.connections = 1, .requests = INT64_MAX, .length = -1};

static struct buffer request;
static int64_t *latencies, *firsts;
static size_t answered, room;
static int64_t started, errors, payload;
static char first_error[256];
static struct link *links, **idle;
static int idle_count, stalled_count, epoll;

/* -- outcomes ------------------------------------------------------------------- */

static void finish(struct link *l, bool again) {
  if (!again) {
    close(l->fd);
    l->state = CLOSED;
  } else {
    l->state = WAITING;
  }
  l->due = 0;
  idle[idle_count++] = l;
}

static void fail(struct link *l, const char *why) {
  if (!errors++)
    snprintf(first_error, sizeof first_error, "%s, status %d, %lld bytes of payload", why,
             l->status, (long long)l->body.payload);
  finish(l, false);
}

static void succeed(struct link *l) {
  if (answered == room) {
    room = room ? 2 * room : 65536;
    latencies = realloc(latencies, room * sizeof *latencies);
    firsts = realloc(firsts, room * sizeof *firsts);
    if (!latencies || !firsts) die("realloc");
  }
  int64_t end = now();
  latencies[answered] = end - l->due;
  firsts[answered++] = (l->first ? l->first : end) - l->due;
  payload += l->body.payload;
  finish(l, !l->closing && l->body.kind != BY_CLOSE);
}

static void judge(struct link *l) {
  if (l->status != 200) fail(l, "refused");
  else if (want.length >= 0 && l->body.payload != want.length) fail(l, "another length");
  else succeed(l);
}

/* -- one request ---------------------------------------------------------------- */

static void watch_writing(struct link *l, bool writing) {
  if (l->writing == writing) return;
  l->writing = writing;
  watch(epoll, EPOLL_CTL_MOD, l->fd, writing ? EPOLLIN | EPOLLOUT : EPOLLIN, l);
}

static void send_more(struct link *l) {
  while (l->sent < request.size) {
    size_t size = request.size - l->sent;
    ssize_t sent =
        send(l->fd, request.data + l->sent, size < PIECE ? size : PIECE, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return fail(l, "broken while sending");
    if (sent < 0) return watch_writing(l, true);
    l->sent += (size_t)sent;
  }
  watch_writing(l, false);
  l->state = WAITING;
}

static void connect_link(struct link *l) {
  struct sockaddr_in address = loopback(want.port);
  l->fd = plain_socket();
  int small = 64 * 1024;
  if (want.stalled > 0) setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  l->state = CONNECTING;
  l->writing = true;
  if (connect(l->fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    return fail(l, "cannot connect");
  watch(epoll, EPOLL_CTL_ADD, l->fd, EPOLLIN | EPOLLOUT, l);
}

static void begin(struct link *l, int64_t due) {
  bool open = l->state != CLOSED;
  *l = (struct link){.fd = l->fd, .head = l->head, .state = l->state, .due = due};
  l->head.size = 0;
  started++;
  if (!open) return connect_link(l);
  l->state = SENDING;
  send_more(l);
}

static size_t read_head(struct link *l, const char *data, size_t size) {
  size_t had = l->head.size, from = had < 3 ? 0 : had - 3;
  append(&l->head, data, size);
  char *end = memmem(l->head.data + from, l->head.size - from, "\r\n\r\n", 4);
  if (!end) return size;
  size_t head = (size_t)(end + 4 - l->head.data);
  const char *connection = header(l->head.data, head, "connection");
  l->status = atoi(l->head.data + strcspn(l->head.data, " "));
  l->closing = connection && !strncasecmp(connection, "close", 5);
  l->body = framing_of(l->head.data, head, false);
  l->state = READING;
  return head - had;
}

/* A connection that waits for a next request is idle already. */
static void unasked(struct link *l, bool said) {
  if (said && !errors++) snprintf(first_error, sizeof first_error, "spoke unasked");
  close(l->fd);
  l->state = CLOSED;
}

static void ended(struct link *l) {
  if (l->state == READING && l->body.kind == BY_CLOSE) judge(l);
  else fail(l, "ended early");
}

static void read_some(struct link *l) {
  static char piece[PIECE];
  ssize_t got = recv(l->fd, piece, want.stalled > 0 ? 1024 : sizeof piece, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (!l->due) return unasked(l, got > 0);
  if (got <= 0) return ended(l);
  size_t at = 0, size = (size_t)got;
  if (l->state != READING) at += read_head(l, piece, size);
  if (l->state != READING) return;
  if (at < size && !l->first) l->first = now();
  take(&l->body, piece + at, size - at, NULL, NULL);
  if (l->body.done) return judge(l);
  if (want.stalled > 0) {
    l->stalled = true;
    stalled_count++;
    watch(epoll, EPOLL_CTL_DEL, l->fd, 0, l);
  }
}

static void serve(struct link *l, uint32_t what) {
  if (l->state == CONNECTING) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) return fail(l, strerror(error));
    if (!(what & EPOLLOUT)) return;
    l->state = SENDING;
  }
  if (l->state == SENDING && (what & EPOLLOUT)) send_more(l);
  if (l->state != CLOSED && (what & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_some(l);
}

/* -- all of them ---------------------------------------------------------------- */

static int64_t due_next(int64_t from, int64_t time) {
  return want.rate > 0 ? from + (int64_t)((double)started * 1e9 / want.rate) : time;
}

static void start_those_due(int64_t from, int64_t until) {
  while (idle_count && started < want.requests && errors < ERRORS_AT_MOST) {
    int64_t time = now(), due = due_next(from, time);
    if (time >= until || due > time) return;
    begin(idle[--idle_count], due);
  }
}

/* Microseconds matter at a fixed rate, and epoll_wait knows milliseconds only. */
static struct timespec pause_until_next(int64_t from, bool over) {
  int64_t pause = INT64_C(1000000000);
  if (!over && want.rate > 0 && idle_count) pause = due_next(from, 0) - now();
  if (pause < 0) pause = 0;
  return (struct timespec){pause / 1000000000, pause % 1000000000};
}

static void run(void) {
  static struct epoll_event events[EVENTS];
  int64_t from = now(), quiet_since = from;
  int64_t until = want.seconds > 0 ? from + (int64_t)(want.seconds * 1e9) : INT64_MAX;
  for (;;) {
    start_those_due(from, until);
    bool over = now() >= until || started >= want.requests || errors >= ERRORS_AT_MOST;
    if (over && idle_count == want.connections) return;
    if (over && want.stalled > 0 && stalled_count + idle_count == want.connections) return;
    struct timespec pause = pause_until_next(from, over);
    int ready = epoll_pwait2(epoll, events, EVENTS, &pause, NULL);
    if (ready > 0) quiet_since = now();
    if (now() - quiet_since > LONGEST_WAIT * INT64_C(1000000000)) {
      errors += want.connections - idle_count;
      snprintf(first_error, sizeof first_error, "no answer");
      return;
    }
    for (int i = 0; i < ready; i++) serve(events[i].data.ptr, events[i].events);
  }
}

static int ascending(const void *one, const void *other) {
  int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
  return (a > b) - (a < b);
}

static double percentile(int64_t *sorted, double share) {
  return answered ? (double)sorted[(size_t)(share * (double)(answered - 1) + 0.5)] / 1e6 : 0;
}

static void report(double seconds) {
  qsort(latencies, answered, sizeof *latencies, ascending);
  qsort(firsts, answered, sizeof *firsts, ascending);
  printf("{\"ok\":%zu,\"errors\":%lld,\"first_error\":\"%s\",\"stalled\":%d,\"seconds\":%.4f,"
         "\"payload\":%lld,\"request\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
         "\"first_p50_ms\":%.4f,\"first_p99_ms\":%.4f}\n",
         answered, (long long)errors, first_error, stalled_count, seconds, (long long)payload,
         request.size, percentile(latencies, .5), percentile(latencies, .99),
         percentile(firsts, .5), percentile(firsts, .99));
  fflush(stdout);
}

static void write_request(void) {
  struct buffer body = contents(want.body);
  char head[512];
  int size = snprintf(head, sizeof head,
                      "POST /v1/responses HTTP/1.1\r\n"
                      "Host: 127.0.0.1:%d\r\n"
                      "Accept: application/json\r\n"
                      "Authorization: Bearer sk-bench\r\n"
                      "Content-Type: application/json\r\n"
                      "User-Agent: OpenAI/Python 3.52.0\r\n"
                      "X-Stainless-Lang: python\r\n"
                      "X-Stainless-Retry-Count: 0\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      want.port, body.size);
  append(&request, head, (size_t)size);
  append(&request, body.data, body.size);
  free(body.data);
}

static void read_arguments(int count, char **words) {
  for (int i = 1; i + 1 < count; i += 2) {
    const char *word = words[i], *value = words[i + 1];
    if (!strcmp(word, "--port")) want.port = atoi(value);
    else if (!strcmp(word, "--body")) want.body = value;
    else if (!strcmp(word, "--connections")) want.connections = atoi(value);
    else if (!strcmp(word, "--seconds")) want.seconds = atof(value);
    else if (!strcmp(word, "--rate")) want.rate = atof(value);
    else if (!strcmp(word, "--requests")) want.requests = atoll(value);
    else if (!strcmp(word, "--length")) want.length = atoll(value);
    else if (!strcmp(word, "--stalled")) want.stalled = atof(value);
    else exit((fprintf(stderr, "client: cannot read %s\n", word), 2));
  }
  if (want.stalled > 0) want.requests = want.connections;
  if (!want.body) exit(2);
  write_request();
}

int main(int count, char **words) {
  read_arguments(count, words);
  epoll = epoll_create1(0);
  links = calloc((size_t)want.connections, sizeof *links);
  idle = calloc((size_t)want.connections + 1, sizeof *idle);
  if (!links || !idle) return 2;
  for (int i = want.connections - 1; i >= 0; i--) idle[idle_count++] = &links[i];
  int64_t from = now();
  run();
  report((double)(now() - from) / 1e9);
  if (want.stalled > 0) usleep((useconds_t)(want.stalled * 1e6));
  return errors ? 1 : 0;
}
