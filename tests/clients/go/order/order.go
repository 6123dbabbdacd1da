// Command order gets one certificate by golang.org/x/crypto/acme, the ACME client that Go programs
// embed (autocert, cert-manager's fork, Kubernetes operators): account, order, http-01 or
// tls-alpn-01, finalization, and revocation when asked.
//
//	order -directory URL -root PEM -challenge http-01|tls-alpn-01 -listen ADDRESS -out DIR [-revoke] NAME...
//
// DIR gets chain.pem and key.pem.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

func main() {
	directory := flag.String("directory", "", "the ACME directory's `URL`")
	root := flag.String("root", "", "`file` of the CA's root")
	challenge := flag.String("challenge", "http-01", "http-01 or tls-alpn-01")
	listen := flag.String("listen", "", "`address` the challenge is answered on")
	out := flag.String("out", "", "`directory` for chain.pem and key.pem")
	revoke := flag.Bool("revoke", false, "revoke the certificate in the end")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, *directory, *root, *challenge, *listen, *out, *revoke, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, directory, root, challenge, listen, out string, revoke bool, names []string) error {
	pool := x509.NewCertPool()
	bundle, err := os.ReadFile(root)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(bundle) {
		return fmt.Errorf("no certificate in %s", root)
	}
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	client := &acme.Client{
		Key:          accountKey,
		DirectoryURL: directory,
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}
	account := &acme.Account{Contact: []string{"mailto:test@example.test"}}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil {
		return fmt.Errorf("register: %w", err)
	}

	order, err := client.AuthorizeOrder(ctx, identifiers(names))
	if err != nil {
		return fmt.Errorf("new order: %w", err)
	}
	answers, err := serve(challenge, listen)
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		if err := authorize(ctx, client, url, challenge, answers); err != nil {
			return err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return fmt.Errorf("wait for the order: %w", err)
	}

	key, request, err := keyAndRequest(names)
	if err != nil {
		return err
	}
	chain, url, err := client.CreateOrderCert(ctx, order.FinalizeURL, request, true)
	if err != nil {
		return fmt.Errorf("finalize: %w", err)
	}
	// The download alone, as a program that only kept the URL does it.
	again, err := client.FetchCert(ctx, url, true)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if len(again) != len(chain) || string(again[0]) != string(chain[0]) {
		return fmt.Errorf("the download differs from what finalization gave")
	}
	if err := write(out, chain, key); err != nil {
		return err
	}
	if revoke {
		if err := client.RevokeCert(ctx, nil, chain[0], acme.CRLReasonSuperseded); err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
	}
	return nil
}

func identifiers(names []string) []acme.AuthzID {
	var ids []acme.AuthzID
	for _, name := range names {
		if net.ParseIP(name) != nil {
			ids = append(ids, acme.IPIDs(name)...)
		} else {
			ids = append(ids, acme.DomainIDs(name)...)
		}
	}
	return ids
}

func authorize(ctx context.Context, client *acme.Client, url, kind string, answers *answers) error {
	authorization, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	var challenge *acme.Challenge
	for _, offered := range authorization.Challenges {
		if offered.Type == kind {
			challenge = offered
		}
	}
	if challenge == nil {
		return fmt.Errorf("%s is not offered for %s", kind, authorization.Identifier.Value)
	}
	if err := answers.add(client, challenge, authorization.Identifier.Value); err != nil {
		return err
	}
	if _, err := client.Accept(ctx, challenge); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if _, err := client.WaitAuthorization(ctx, authorization.URI); err != nil {
		return fmt.Errorf("wait for the authorization: %w", err)
	}
	return nil
}

// answers is what validation finds: paths over HTTP, certificates by name over TLS.
type answers struct {
	lock         sync.Mutex
	paths        map[string]string
	certificates map[string]tls.Certificate
}

func serve(kind, address string) (*answers, error) {
	answers := &answers{paths: map[string]string{}, certificates: map[string]tls.Certificate{}}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if kind == acme.ALPNProto || kind == "tls-alpn-01" {
		listener = tls.NewListener(listener, &tls.Config{
			NextProtos: []string{acme.ALPNProto},
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				answers.lock.Lock()
				defer answers.lock.Unlock()
				certificate, ok := answers.certificates[hello.ServerName]
				if !ok {
					return nil, fmt.Errorf("no answer for %s", hello.ServerName)
				}
				return &certificate, nil
			},
		})
	}
	go http.Serve(listener, answers)
	return answers, nil
}

func (a *answers) add(client *acme.Client, challenge *acme.Challenge, name string) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	if challenge.Type == "tls-alpn-01" {
		certificate, err := client.TLSALPN01ChallengeCert(challenge.Token, name)
		a.certificates[name] = certificate
		return err
	}
	answer, err := client.HTTP01ChallengeResponse(challenge.Token)
	a.paths[client.HTTP01ChallengePath(challenge.Token)] = answer
	return err
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.lock.Lock()
	answer, ok := a.paths[r.URL.Path]
	a.lock.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, answer)
}

func keyAndRequest(names []string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	var template x509.CertificateRequest
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &template, crypto.Signer(key))
	return key, request, err
}

func write(dir string, chain [][]byte, key *ecdsa.PrivateKey) error {
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := os.WriteFile(filepath.Join(dir, "chain.pem"), text, 0o644); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return os.WriteFile(filepath.Join(dir, "key.pem"), text, 0o600)
}
