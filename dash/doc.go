// Package dash is the web page of a client's caches: what each of them saves, how fast it answers, which keys are hot, who runs
// it with which settings, and how Redis is. It shows the last hour and the last day, without a metrics server: the numbers are
// the fleet's (nearside.Options.Fleet).
//
//	client, err := nearside.Open(ctx, "redis://localhost:6379", nearside.Options{Fleet: true})
//	page := dash.New(client, dash.Options{})
//	mux.Handle("/cache/", http.StripPrefix("/cache", page))
//	server.RegisterOnShutdown(page.Close) // or browsers that look keep Shutdown waiting
//
// nearside serve has it at /.
//
// # What it shows, and to whom
//
// The page asks for no password: whoever reaches it sees the names of caches and of hot keys, so mount it behind what guards
// your other internal pages. Values are not shown and nothing can be changed, unless Options say so. Session tokens are never
// shown: no key of a session store is listed, sampled or invalidated here.
//
// A name may be anything, since programs choose it: markup is escaped, and a key with control characters is shown as a Go
// string. Nothing is fetched from elsewhere, and no script or style stands in the page itself (Content-Security-Policy:
// default-src 'self'). A POST of another site is refused, and so is, on a connection to loopback, another Host than this
// machine's, which is how a page elsewhere would get through to it (DNS rebinding).
//
// # What it costs
//
// Nothing while nobody looks. While somebody does, the fleet's numbers are read every 2 s, INFO every 5 s, and names, TTLs and
// sizes of keys are sampled with SCAN once a minute, by 2,000 keys per second at most, for all who look together. Numbers that
// were sampled have a ± (of 95 %).
//
// Without JavaScript the page is tables, and loads itself anew every 15 s.
package dash
