// A client on Proton's C library: client HOST:PORT send|receive|publish COUNT SIZE WINDOW ADDRESS
//
// The first fifth warms up. Prints messages a second, or, for publish (dial, send one, its outcome, close), the median of
// its microseconds. Each message is encoded, or decoded and accepted, as other clients do.
#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/transport.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *host, *work, *address;
static long count, size, window, warm;
static long sent, settled, received;
static double started, *times;
static long timed;
static pn_proactor_t *proactor;
static pn_message_t *outgoing, *incoming;
static char *buffer;
static size_t capacity = 1 << 20;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void finish(double value) {
  printf("%.1f\n", value);
  exit(0);
}

static void step(long done) {
  if (done == warm) started = now();
  if (done == count + warm) finish(count / (now() - started));
}

static void dial(void) {
  pn_transport_t *transport = pn_transport();
  pn_transport_set_max_frame(transport, 131072);
  pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
  pn_proactor_connect2(proactor, NULL, transport, host);
}

static void begin(pn_connection_t *connection) {
  pn_connection_set_container(connection, "proton");
  pn_connection_open(connection);
  pn_session_t *session = pn_session(connection);
  pn_session_open(session);
  if (!strcmp(work, "receive")) {
    pn_link_t *link = pn_receiver(session, "receiver");
    pn_terminus_set_address(pn_link_source(link), address);
    pn_link_open(link);
    pn_link_flow(link, window);
  } else {
    pn_link_t *link = pn_sender(session, "sender");
    pn_terminus_set_address(pn_link_target(link), address);
    pn_link_open(link);
  }
}

static void send_more(pn_link_t *link) {
  long last = !strcmp(work, "publish") ? 1 : count + warm;
  while (pn_link_credit(link) > 0 && sent - settled < window && sent < last) {
    unsigned long tag = ++sent;
    pn_delivery(link, pn_dtag((char *)&tag, sizeof tag));
    size_t length = capacity;
    pn_message_encode(outgoing, buffer, &length);
    pn_link_send(link, buffer, length);
    pn_link_advance(link);
  }
}

static void take_outcome(pn_delivery_t *delivery, pn_link_t *link) {
  if (pn_delivery_remote_state(delivery) != PN_ACCEPTED) exit(3);
  pn_delivery_settle(delivery);
  settled++;
  if (!strcmp(work, "publish")) {
    pn_connection_close(pn_session_connection(pn_link_session(link)));
    return;
  }
  step(settled);
  send_more(link);
}

static void take_message(pn_delivery_t *delivery, pn_link_t *link) {
  size_t length = pn_delivery_pending(delivery);
  if (length > capacity) exit(4);
  pn_link_recv(link, buffer, length);
  if (pn_message_decode(incoming, buffer, length)) exit(5);
  pn_data_t *body = pn_message_body(incoming);
  pn_data_next(body);
  if ((long)pn_data_get_binary(body).size != size) exit(6);
  pn_delivery_update(delivery, PN_ACCEPTED);
  pn_delivery_settle(delivery);
  if (pn_link_credit(link) < window / 2) pn_link_flow(link, window - pn_link_credit(link));
  step(++received);
}

static bool handle(pn_event_t *event) {
  pn_delivery_t *delivery = pn_event_delivery(event);
  switch (pn_event_type(event)) {
    case PN_CONNECTION_INIT:
      begin(pn_event_connection(event));
      break;
    case PN_LINK_FLOW:
      if (pn_link_is_sender(pn_event_link(event))) send_more(pn_event_link(event));
      break;
    case PN_DELIVERY:
      if (pn_link_is_sender(pn_delivery_link(delivery))) take_outcome(delivery, pn_delivery_link(delivery));
      else if (pn_delivery_readable(delivery) && !pn_delivery_partial(delivery)) {
        take_message(delivery, pn_delivery_link(delivery));
      }
      break;
    case PN_TRANSPORT_CLOSED:
      if (strcmp(work, "publish")) return false;
      times[timed++] = (now() - started) * 1e6;
      if (timed == count) {
        qsort(times, timed, sizeof *times, ascending);
        printf("%.1f ", times[timed / 2]);
        finish(times[timed * 99 / 100]);
      }
      sent = settled = 0;
      started = now();
      dial();
      break;
    default:
      break;
  }
  return true;
}

int main(int argc, char **argv) {
  if (argc < 7) return 2;
  host = argv[1];
  work = argv[2];
  count = atol(argv[3]);
  size = atol(argv[4]);
  window = atol(argv[5]);
  address = argv[6];
  warm = (count + 4) / 5;
  times = calloc(count, sizeof *times);
  buffer = malloc(capacity);
  char *content = malloc(size);
  memset(content, 'a', size);
  incoming = pn_message();
  outgoing = pn_message();
  pn_message_set_inferred(outgoing, true);
  pn_data_put_binary(pn_message_body(outgoing), pn_bytes(size, content));
  proactor = pn_proactor();
  started = now();
  dial();
  for (bool goes_on = true; goes_on;) {
    pn_event_batch_t *batch = pn_proactor_wait(proactor);
    for (pn_event_t *event; (event = pn_event_batch_next(batch));) goes_on = handle(event) && goes_on;
    pn_proactor_done(proactor, batch);
  }
  return 1;
}
