// Checks a broker with go-amqp; prints one line a check.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

var address = os.Args[1]

func check(name string, run func(ctx context.Context, session *amqp.Session) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := func() error {
		conn, err := amqp.Dial(ctx, address, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("user", "secret")})
		if err != nil {
			return err
		}
		defer conn.Close()
		session, err := conn.NewSession(ctx, nil)
		if err != nil {
			return err
		}
		return run(ctx, session)
	}()
	if err != nil {
		fmt.Printf("FAILED %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Println("ok " + name)
	}
}

func send(ctx context.Context, session *amqp.Session, to string, texts ...string) error {
	sender, err := session.NewSender(ctx, to, nil)
	if err != nil {
		return err
	}
	for _, text := range texts {
		if err := sender.Send(ctx, amqp.NewMessage([]byte(text)), nil); err != nil {
			return err
		}
	}
	return sender.Close(ctx)
}

func receive(ctx context.Context, receiver *amqp.Receiver, want string) (*amqp.Message, error) {
	message, err := receiver.Receive(ctx, nil)
	if err != nil {
		return nil, err
	}
	if string(message.GetData()) != want {
		return nil, fmt.Errorf("got %q, not %q", message.GetData(), want)
	}
	return message, nil
}

func main() {
	check("round trip", func(ctx context.Context, session *amqp.Session) error {
		if err := send(ctx, session, "go-one", "one coffee"); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-one", nil)
		if err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "one coffee")
		if err != nil {
			return err
		}
		return receiver.AcceptMessage(ctx, message)
	})
	check("sections and values", func(ctx context.Context, session *amqp.Session) error {
		sender, err := session.NewSender(ctx, "go-values", nil)
		if err != nil {
			return err
		}
		subject := "s"
		message := &amqp.Message{
			Header:                &amqp.MessageHeader{Durable: true, Priority: 7},
			Properties:            &amqp.MessageProperties{MessageID: uint64(5), Subject: &subject},
			ApplicationProperties: map[string]any{"n": int64(1) << 40, "text": "é", "yes": true},
			Annotations:           amqp.Annotations{"x-opt-a": "b"},
			Value:                 map[string]any{"list": []any{int32(1), "two"}},
		}
		if err := sender.Send(ctx, message, nil); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-values", nil)
		if err != nil {
			return err
		}
		got, err := receiver.Receive(ctx, nil)
		if err != nil {
			return err
		}
		if got.Properties.MessageID != uint64(5) || got.ApplicationProperties["n"] != int64(1)<<40 || got.Annotations["x-opt-a"] != "b" || got.Header.Priority != 7 {
			return fmt.Errorf("got %+v %+v %+v", got.Properties, got.ApplicationProperties, got.Annotations)
		}
		return receiver.AcceptMessage(ctx, got)
	})
	check("large", func(ctx context.Context, session *amqp.Session) error {
		body := bytes.Repeat([]byte{7}, 5_000_000)
		sender, err := session.NewSender(ctx, "go-large", nil)
		if err != nil {
			return err
		}
		if err := sender.Send(ctx, amqp.NewMessage(body), nil); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-large", nil)
		if err != nil {
			return err
		}
		got, err := receiver.Receive(ctx, nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(got.GetData(), body) {
			return errors.New("not what was sent")
		}
		return receiver.AcceptMessage(ctx, got)
	})
	check("release, modify, reject", func(ctx context.Context, session *amqp.Session) error {
		if err := send(ctx, session, "go-settle", "a", "b"); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-settle", &amqp.ReceiverOptions{Credit: 1})
		if err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "a")
		if err != nil {
			return err
		}
		if err := receiver.ReleaseMessage(ctx, message); err != nil {
			return err
		}
		if message, err = receive(ctx, receiver, "a"); err != nil {
			return err
		}
		if err := receiver.ModifyMessage(ctx, message, &amqp.ModifyMessageOptions{DeliveryFailed: true}); err != nil {
			return err
		}
		if message, err = receive(ctx, receiver, "a"); err != nil {
			return err
		}
		if message.Header.DeliveryCount != 1 {
			return fmt.Errorf("delivery-count is %d", message.Header.DeliveryCount)
		}
		if err := receiver.RejectMessage(ctx, message, &amqp.Error{Condition: "test:bad", Description: "é"}); err != nil {
			return err
		}
		if message, err = receive(ctx, receiver, "b"); err != nil {
			return err
		}
		return receiver.AcceptMessage(ctx, message)
	})
	check("receiver settles second", func(ctx context.Context, session *amqp.Session) error {
		if err := send(ctx, session, "go-second", "a", "b", "c"); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-second", &amqp.ReceiverOptions{SettlementMode: amqp.ReceiverSettleModeSecond.Ptr(), Credit: 1})
		if err != nil {
			return err
		}
		for _, want := range []string{"a", "b", "c"} {
			message, err := receive(ctx, receiver, want)
			if err != nil {
				return err
			}
			if err := receiver.AcceptMessage(ctx, message); err != nil {
				return err
			}
		}
		return nil
	})
	check("settled sends", func(ctx context.Context, session *amqp.Session) error {
		sender, err := session.NewSender(ctx, "go-settled", &amqp.SenderOptions{SettlementMode: amqp.SenderSettleModeSettled.Ptr()})
		if err != nil {
			return err
		}
		if err := sender.Send(ctx, amqp.NewMessage([]byte("a")), nil); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-settled", nil)
		if err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "a")
		if err != nil {
			return err
		}
		return receiver.AcceptMessage(ctx, message)
	})
	check("drain", func(ctx context.Context, session *amqp.Session) error {
		if err := send(ctx, session, "go-drain", "a"); err != nil {
			return err
		}
		receiver, err := session.NewReceiver(ctx, "go-drain", &amqp.ReceiverOptions{Credit: -1})
		if err != nil {
			return err
		}
		if err := receiver.IssueCredit(10); err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "a")
		if err != nil {
			return err
		}
		if err := receiver.AcceptMessage(ctx, message); err != nil {
			return err
		}
		return receiver.DrainCredit(ctx, nil)
	})
	check("selector", func(ctx context.Context, session *amqp.Session) error {
		sender, err := session.NewSender(ctx, "go-selector", nil)
		if err != nil {
			return err
		}
		for _, n := range []int32{1, 2} {
			message := amqp.NewMessage([]byte(fmt.Sprint(n)))
			message.ApplicationProperties = map[string]any{"n": n}
			if err := sender.Send(ctx, message, nil); err != nil {
				return err
			}
		}
		filter := amqp.NewSelectorFilter("n = 2")
		receiver, err := session.NewReceiver(ctx, "go-selector", &amqp.ReceiverOptions{Filters: []amqp.LinkFilter{filter}})
		if err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "2")
		if err != nil {
			return err
		}
		return receiver.AcceptMessage(ctx, message)
	})
	check("dynamic node", func(ctx context.Context, session *amqp.Session) error {
		receiver, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true})
		if err != nil {
			return err
		}
		if err := send(ctx, session, receiver.Address(), "a"); err != nil {
			return err
		}
		message, err := receive(ctx, receiver, "a")
		if err != nil {
			return err
		}
		return receiver.AcceptMessage(ctx, message)
	})
	check("2000 messages", func(ctx context.Context, session *amqp.Session) error {
		sender, err := session.NewSender(ctx, "go-many", nil)
		if err != nil {
			return err
		}
		failed := make(chan error, 1)
		go func() {
			for n := 0; n < 2000; n++ {
				if err := sender.Send(ctx, amqp.NewMessage([]byte(fmt.Sprint(n))), nil); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
		receiver, err := session.NewReceiver(ctx, "go-many", &amqp.ReceiverOptions{Credit: 200})
		if err != nil {
			return err
		}
		for n := 0; n < 2000; n++ {
			message, err := receive(ctx, receiver, fmt.Sprint(n))
			if err != nil {
				return err
			}
			if err := receiver.AcceptMessage(ctx, message); err != nil {
				return err
			}
		}
		return <-failed
	})
	check("wrong password", func(ctx context.Context, _ *amqp.Session) error {
		_, err := amqp.Dial(ctx, address, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("user", "guess")})
		if err == nil {
			return errors.New("it was let in")
		}
		return nil
	})
}
