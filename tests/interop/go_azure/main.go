// Checks the stand-ins for Service Bus and Event Hubs with the Azure clients of Go; prints one line a check: PORT sb|eh tcp|ws
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/coder/websocket"
)

var port, transport = os.Args[1], os.Args[3]

func dial(ctx context.Context) (net.Conn, error) {
	path := "/$servicebus/websocket"
	c, _, err := websocket.Dial(ctx, "ws://127.0.0.1:"+port+path, &websocket.DialOptions{Subprotocols: []string{"amqp"}})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
}

func check(name string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		fmt.Printf("FAILED %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Println("ok " + name)
	}
}
func want(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, not %v", got, want)
	}
	return nil
}

func fails(err error, with string) error {
	if err == nil || !strings.Contains(err.Error(), with) {
		return fmt.Errorf("got error %v, not one with %q", err, with)
	}
	return nil
}

func bodies(l []*azservicebus.ReceivedMessage) string {
	var s []string
	for _, m := range l {
		s = append(s, string(m.Body))
	}
	return strings.Join(s, ",")
}

func sb() {
	o := &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{MaxRetries: -1}}
	if transport == "ws" {
		o.NewWebSocketConn = func(ctx context.Context, a azservicebus.NewWebSocketConnArgs) (net.Conn, error) { return dial(ctx) }
	}
	client, err := azservicebus.NewClientFromConnectionString("Endpoint=sb://127.0.0.1:"+port+";SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true", o)
	if err != nil {
		fmt.Println("FAILED client", err)
		return
	}
	sender, _ := client.NewSender("orders", nil)
	send := func(ctx context.Context, l ...string) error {
		for _, s := range l {
			if err := sender.SendMessage(ctx, &azservicebus.Message{Body: []byte(s)}, nil); err != nil {
				return err
			}
		}
		return nil
	}
	receiver, _ := client.NewReceiverForQueue("orders", nil)
	check("send, batch, peek", func(ctx context.Context) error {
		if err := send(ctx, "one"); err != nil {
			return err
		}
		b, err := sender.NewMessageBatch(ctx, nil)
		if err != nil {
			return err
		}
		for _, s := range []string{"two", "three", "four", "five"} {
			if err := b.AddMessage(&azservicebus.Message{Body: []byte(s), ApplicationProperties: map[string]any{"a": 1}}, nil); err != nil {
				return err
			}
		}
		if err := sender.SendMessageBatch(ctx, b, nil); err != nil {
			return err
		}
		l, err := receiver.PeekMessages(ctx, 10, nil)
		if err != nil {
			return err
		}
		return want(bodies(l), "one,two,three,four,five")
	})
	check("complete, abandon, dead-letter, defer, renew", func(ctx context.Context) error {
		var l []*azservicebus.ReceivedMessage
		for len(l) < 5 {
			m, err := receiver.ReceiveMessages(ctx, 5-len(l), nil)
			if err != nil {
				return err
			}
			l = append(l, m...)
		}
		if err := want(bodies(l), "one,two,three,four,five"); err != nil {
			return err
		}
		if err := receiver.CompleteMessage(ctx, l[0], nil); err != nil {
			return err
		}
		if err := receiver.AbandonMessage(ctx, l[1], &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"p": "q"}}); err != nil {
			return err
		}
		reason := "bad"
		if err := receiver.DeadLetterMessage(ctx, l[2], &azservicebus.DeadLetterOptions{Reason: &reason}); err != nil {
			return err
		}
		if err := receiver.DeferMessage(ctx, l[3], nil); err != nil {
			return err
		}
		if err := receiver.RenewMessageLock(ctx, l[4], nil); err != nil {
			return err
		}
		if err := receiver.CompleteMessage(ctx, l[4], nil); err != nil {
			return err
		}
		m, err := receiver.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return err
		}
		if err := want(fmt.Sprintf("%s %d", bodies(m), m[0].DeliveryCount), "two 2"); err != nil {
			return err
		}
		if err := receiver.CompleteMessage(ctx, m[0], nil); err != nil {
			return err
		}
		d, err := receiver.ReceiveDeferredMessages(ctx, []int64{*l[3].SequenceNumber}, nil)
		if err != nil {
			return err
		}
		if err := receiver.CompleteMessage(ctx, d[0], nil); err != nil {
			return err
		}
		dl, _ := client.NewReceiverForQueue("orders", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
		m, err = dl.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return err
		}
		if err := dl.CompleteMessage(ctx, m[0], nil); err != nil {
			return err
		}
		return want(fmt.Sprintf("%s %s", bodies(m), *m[0].DeadLetterReason), "three bad")
	})
	check("schedule, cancel", func(ctx context.Context) error {
		if _, err := sender.ScheduleMessages(ctx, []*azservicebus.Message{{Body: []byte("later")}}, time.Now().Add(300*time.Millisecond), nil); err != nil {
			return err
		}
		c, err := sender.ScheduleMessages(ctx, []*azservicebus.Message{{Body: []byte("never")}}, time.Now().Add(time.Hour), nil)
		if err != nil {
			return err
		}
		if err := sender.CancelScheduledMessages(ctx, c, nil); err != nil {
			return err
		}
		m, err := receiver.ReceiveMessages(ctx, 2, nil)
		if err != nil {
			return err
		}
		if err := receiver.CompleteMessage(ctx, m[0], nil); err != nil {
			return err
		}
		return want(bodies(m), "later")
	})
	check("sessions", func(ctx context.Context) error {
		s, _ := client.NewSender("talks", nil)
		a, b := "a", "b"
		for _, id := range []*string{&a, &b, &a} {
			if err := s.SendMessage(ctx, &azservicebus.Message{Body: []byte(*id), SessionID: id}, nil); err != nil {
				return err
			}
		}
		r, err := client.AcceptSessionForQueue(ctx, "talks", "a", nil)
		if err != nil {
			return err
		}
		var l []*azservicebus.ReceivedMessage
		for len(l) < 2 {
			m, err := r.ReceiveMessages(ctx, 2, nil)
			if err != nil {
				return err
			}
			l = append(l, m...)
		}
		if err := r.SetSessionState(ctx, []byte("st"), nil); err != nil {
			return err
		}
		st, err := r.GetSessionState(ctx, nil)
		if err != nil {
			return err
		}
		if err := r.RenewSessionLock(ctx, nil); err != nil {
			return err
		}
		for _, m := range l {
			if err := r.CompleteMessage(ctx, m, nil); err != nil {
				return err
			}
		}
		n, err := client.AcceptNextSessionForQueue(ctx, "talks", nil)
		if err != nil {
			return err
		}
		id := n.SessionID()
		m, err := n.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return err
		}
		n.CompleteMessage(ctx, m[0], nil)
		n.Close(ctx)
		_, err = client.AcceptSessionForQueue(ctx, "talks", "a", nil)
		r.Close(ctx)
		short, c2 := context.WithTimeout(ctx, 2*time.Second)
		defer c2()
		_, none := client.AcceptNextSessionForQueue(short, "talks", nil)
		if err := fails(err, "session-cannot-be-locked"); err != nil {
			return err
		}
		if err := fails(none, "timeout"); err != nil {
			return err
		}
		return want(fmt.Sprintf("%s %s %s", bodies(l), st, id), "a,a st b")
	})
	check("receive and delete, 500", func(ctx context.Context) error {
		for i := 0; i < 5; i++ {
			b, err := sender.NewMessageBatch(ctx, nil)
			if err != nil {
				return err
			}
			for i := 0; i < 100; i++ {
				if err := b.AddMessage(&azservicebus.Message{Body: []byte("x")}, nil); err != nil {
					return err
				}
			}
			if err := sender.SendMessageBatch(ctx, b, nil); err != nil {
				return err
			}
		}
		r, _ := client.NewReceiverForQueue("orders", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
		n := 0
		for n < 500 {
			m, err := r.ReceiveMessages(ctx, 100, nil)
			if err != nil {
				return fmt.Errorf("%d %w", n, err)
			}
			n += len(m)
		}
		r.Close(ctx)
		l, err := receiver.PeekMessages(ctx, 10, nil)
		if err != nil {
			return err
		}
		return want(len(l), 0)
	})
	check("lock that runs out", func(ctx context.Context) error {
		s, _ := client.NewSender("quick", nil)
		if err := s.SendMessage(ctx, &azservicebus.Message{Body: []byte("x")}, nil); err != nil {
			return err
		}
		r, _ := client.NewReceiverForQueue("quick", nil)
		m, err := r.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return err
		}
		time.Sleep(900 * time.Millisecond)
		r.CompleteMessage(ctx, m[0], nil)
		m, err = r.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return err
		}
		return r.CompleteMessage(ctx, m[0], nil)
	})
	check("unknown queue", func(ctx context.Context) error {
		s, _ := client.NewSender("nowhere", nil)
		return fails(s.SendMessage(ctx, &azservicebus.Message{Body: []byte("x")}, nil), "amqp:not-found")
	})
}

func eh() {
	po := &azeventhubs.ProducerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}}
	co := &azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}}
	if transport == "ws" {
		f := func(ctx context.Context, a azeventhubs.WebSocketConnParams) (net.Conn, error) { return dial(ctx) }
		po.NewWebSocketConn, co.NewWebSocketConn = f, f
	}
	cs := "Endpoint=sb://127.0.0.1:" + port + ";SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true"
	p, err := azeventhubs.NewProducerClientFromConnectionString(cs, "events", po)
	if err != nil {
		fmt.Println("FAILED", err)
		return
	}
	c, err := azeventhubs.NewConsumerClientFromConnectionString(cs, "events", "$Default", co)
	if err != nil {
		fmt.Println("FAILED", err)
		return
	}
	check("properties", func(ctx context.Context) error {
		pr, err := p.GetEventHubProperties(ctx, nil)
		if err != nil {
			return err
		}
		pp, err := p.GetPartitionProperties(ctx, pr.PartitionIDs[0], nil)
		if err != nil {
			return err
		}
		return want(fmt.Sprint(pr.Name, pr.PartitionIDs, pp.IsEmpty), "events[0 1] true")
	})
	check("batch, positions", func(ctx context.Context) error {
		id := "0"
		b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &id})
		if err != nil {
			return err
		}
		for i := 0; i < 10; i++ {
			if err := b.AddEventData(&azeventhubs.EventData{Body: []byte(fmt.Sprint(i)), Properties: map[string]any{"k": i}}, nil); err != nil {
				return err
			}
		}
		if err := p.SendEventDataBatch(ctx, b, nil); err != nil {
			return err
		}
		yes := true
		seq := int64(4)
		r, err := c.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: &yes}})
		if err != nil {
			return err
		}
		l, err := r.ReceiveEvents(ctx, 10, nil)
		if err != nil {
			return err
		}
		r.Close(ctx)
		r, _ = c.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{SequenceNumber: &seq, Inclusive: false}})
		m, err := r.ReceiveEvents(ctx, 5, nil)
		if err != nil {
			return err
		}
		r.Close(ctx)
		owner := int64(1)
		r1, _ := c.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{OwnerLevel: &owner, StartPosition: azeventhubs.StartPosition{Earliest: &yes}})
		if _, err := r1.ReceiveEvents(ctx, 1, nil); err != nil {
			return err
		}
		higher := int64(2)
		r2, _ := c.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{OwnerLevel: &higher, StartPosition: azeventhubs.StartPosition{Earliest: &yes}})
		if _, err := r2.ReceiveEvents(ctx, 1, nil); err != nil {
			return err
		}
		short, c2 := context.WithTimeout(ctx, 2*time.Second)
		defer c2()
		_, err = r1.ReceiveEvents(short, 20, nil)
		if err := fails(err, "ownershiplost"); err != nil {
			return err
		}
		return want(fmt.Sprintf("%d %d %s", len(l), len(m), m[0].Body), "10 5 5")
	})
	check("partition key", func(ctx context.Context) error {
		k := "key"
		b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: &k})
		if err != nil {
			return err
		}
		b.AddEventData(&azeventhubs.EventData{Body: []byte("x")}, nil)
		return p.SendEventDataBatch(ctx, b, nil)
	})
	check("unknown partition", func(ctx context.Context) error {
		_, err := p.GetPartitionProperties(ctx, "99", nil)
		return fails(err, "404")
	})
}

func main() {
	if os.Args[2] == "sb" {
		sb()
	} else {
		eh()
	}
}
