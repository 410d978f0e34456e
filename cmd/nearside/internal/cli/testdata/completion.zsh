#compdef nearside
_nearside() {
	local -a commands
	commands=(
		'serve:Answer Redis clients and HTTP from declared SQL queries; without a configuration, from a built-in demo shop.'
		'top:Watch what all caches do\: reads, hits, latency, loads, time saved.'
		'stats:Show what all processes count together, of all caches or all about one.'
		'hot:Show which keys are read most.'
		'keys:Show some keys of a cache, with type, TTL and size.'
		'get:Show what the cache holds under a key. It is never loaded.'
		'ttl:Show how long a key lives on.'
		'invalidate:Remove a key, or all keys of a cache\: they are loaded anew.'
		'doctor:Examine Redis and the keys of caches\: what is wrong, why it matters, and the command that mends it.'
		'completion:Print a script that completes commands and flags in a shell.'
		'version:Print the version.'
	)
	if ((CURRENT == 2)); then
		_describe command commands
		return
	fi
	local name=$words[2]
	shift words
	((CURRENT--))
	case $name in
	serve)
		_arguments \
			'--help[Show help.]' \
			'--config[The YAML file with the caches. Without it\: the built-in demo shop.]:file:_files' \
			'--redis[The store\: redis\://host\:port, unix\:///path, or memory\: for the embedded one (default).]:value: ' \
			'--database[The database\: sqlite\:path, postgres\://user\:password@host/database or mysql\://user\:password@host/database.]:value: ' \
			'--listen[Where Redis clients connect (default 127.0.0.1\:6380).]:value: ' \
			'--http[Where HTTP is answered (default 127.0.0.1\:8080), or off.]:value: ' \
			'--log-level[debug, info, warn or error (default info).]:value: ' \
			'--traffic[Ask the demo shop for so many rows each second, 5 % of them written before, and say what the cache saves.]:value: ' \
			'--check[Check the configuration, the database and every statement, and exit.]'
		;;
	top)
		_arguments \
			'--help[Show help.]' \
			'--every[How often to look. Processes report each 10 s.]:value: ' \
			'--times[How often before it ends; 0\: until you end it.]:value: ' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	stats)
		_arguments \
			'--help[Show help.]' \
			'--since[How far back\: 1h or 24h; without it, the minute under way and the one before.]:value: ' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	hot)
		_arguments \
			'--help[Show help.]' \
			'--limit[How many keys to show.]:value: ' \
			'--for[Of the last so long, from 1m to 10m.]:value: ' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	keys)
		_arguments \
			'--help[Show help.]' \
			'--limit[How many keys to show.]:value: ' \
			'--match[Only keys that match\: * stands for any characters, as in '\''user\:4*'\''.]:value: ' \
			'--for[How long to look\: at 2,000 keys of Redis per second at most.]:value: ' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	get)
		_arguments \
			'--help[Show help.]' \
			'--meta[Show type, TTL, size and what goes on with the key, and not its value.]' \
			'--raw[Print all of the value as it is, on a terminal too.]' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	ttl)
		_arguments \
			'--help[Show help.]' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	invalidate)
		_arguments \
			'--help[Show help.]' \
			'--all[All keys of the cache. Without --yes they are only counted.]' \
			'--yes[With --all\: do it.]' \
			'--for[How long to count, before the rest is estimated.]:value: ' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	doctor)
		_arguments \
			'--help[Show help.]' \
			'--redis[Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME\:*. Or NEARSIDE_REDIS.]:value: ' \
			'--url[Ask this running serve (default http\://127.0.0.1\:8080). Or NEARSIDE_URL.]:value: ' \
			'--password-file[The file with the password of serve. Or NEARSIDE_PASSWORD.]:file:_files' \
			'--ca[The PEM file of who signed the certificate of serve.]:file:_files' \
			'--json[Print one JSON document.]'
		;;
	completion)
		_arguments \
			'--help[Show help.]' \
			'1: :(bash zsh fish)'
		;;
	version)
		_arguments \
			'--help[Show help.]'
		;;
	esac
}
_nearside "$@"
