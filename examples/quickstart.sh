#!/usr/bin/env bash
# Walks a running Guildhall from the front door to the vault, one request at a time, and shows what each answers.
#
#   make run                    # in one terminal
#   examples/quickstart.sh      # in another
#
# Needs bash, curl, jq and openssl. Everything it makes belongs to a new person with an address of its own, so it can be run again and again.
# Where `make run` serves is read from .guildhall/. Another development server is named by GUILDHALL_URL, and its Stripe by STRIPE_URL,
# STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET; HOOKS_URL says where that server reaches its own hook catcher, if not at GUILDHALL_URL.
set -euo pipefail
home=${GUILDHALL_HOME:-.guildhall}
if [[ -n ${GUILDHALL_HOME-} && $home != /* ]]; then home=$PWD/$home; fi
cd "$(dirname "$0")/.."

# ---- A voice -------------------------------------------------------------------------------------------------------------------------

bold='' dim='' green='' red='' plain=''
if [[ -t 1 ]]; then bold=$'\033[1m' dim=$'\033[2m' green=$'\033[32m' red=$'\033[31m' plain=$'\033[0m'; fi

number=0
# A heading, and what the step is about.
step() {
  number=$((number + 1))
  printf '\n%s%2d. %s%s\n' "$bold" "$number" "$1" "$plain"
  shift
  if [[ $# -gt 0 ]]; then printf '    %s\n' "$@"; fi
}
note() { printf '    %s\n' "$*"; }
good() { printf '    %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() {
  printf '\n%squickstart: %s%s\n' "$red" "$1" "$plain" >&2
  shift
  if [[ $# -gt 0 ]]; then printf '            %s\n' "$@" >&2; fi
  exit 1
}

# The essential part of the last answer.
show() { jq --compact-output "$1" <<<"$body" | sed "s/^/    $dim/; s/\$/$plain/"; }
# One value of the last answer.
pick() { jq --raw-output --exit-status "$1" <<<"$body" || fail "the answer has no $1:" "$body"; }

# ---- Requests ------------------------------------------------------------------------------------------------------------------------

for tool in curl jq openssl; do
  command -v "$tool" >/dev/null || fail "$tool is missing" "Debian, Ubuntu: apt-get install $tool; macOS: brew install $tool"
done

running=$home/stack/running.json
# What the stack of `make run` says about itself.
stack() { if [[ -r $running ]]; then jq --raw-output "$1 // empty" "$running"; fi; }

url=${GUILDHALL_URL:-$(stack .url)}
url=${url:-http://127.0.0.1:8080}
stripe_url=${STRIPE_URL:-$(stack .stripe.url)}
stripe_key=${STRIPE_SECRET_KEY:-$(stack .stripe.key)}
stripe_secret=${STRIPE_WEBHOOK_SECRET:-$(stack .stripe.webhook_secret)}
hooks_url=${HOOKS_URL:-$url}
[[ -n $stripe_url && -n $stripe_key && -n $stripe_secret ]] ||
  fail "no Stripe is known" "\`make run\` in this folder brings one; of another server, say STRIPE_URL, STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET"

credential='' workspace='' status='' body='' extra=()

# Sends a request with what follows as curl's own options; leaves `status` and `body`.
send() {
  local answer
  answer=$(curl --silent --show-error --max-time 30 --noproxy 127.0.0.1,localhost --write-out '\n%{http_code}' "$@") ||
    fail "nobody answers at ${*: -1}" "Start Guildhall with: make run"
  status=${answer##*$'\n'} body=${answer%$'\n'*}
}

# Asks the API: a method, a path below /api/v1, and maybe a body. Whatever comes must be a success.
ask() {
  local method=$1 path=$2 options=()
  if [[ -n $credential ]]; then options+=(--header "Authorization: $credential"); fi
  if [[ -n $workspace ]]; then options+=(--header "Guildhall-Workspace: $workspace"); fi
  if [[ $# -gt 2 ]]; then options+=(--header 'Content-Type: application/json' --data-binary "$3"); fi
  printf '    %s%s %s%s\n' "$dim" "$method" "/api/v1$path" "$plain"
  send --request "$method" ${options[@]+"${options[@]}"} ${extra[@]+"${extra[@]}"} "$url/api/v1$path"
}
api() {
  ask "$@"
  [[ $status == 2?? ]] || fail "$1 $2 answered $status:" "$(jq . <<<"$body" 2>/dev/null || echo "$body")"
}

# The same for a request that must be refused, with this code.
refused() {
  local code=$1
  shift
  ask "$@"
  [[ $status == 4?? && $(jq --raw-output .code <<<"$body") == "$code" ]] ||
    fail "$1 $2 should have been refused with $code, and answered $status:" "$body"
}

# Asks Stripe: a method, a path below /v1, and curl's options for the form.
stripe() {
  local method=$1 path=$2
  shift 2
  printf '    %sStripe: %s /v1/%s%s\n' "$dim" "$method" "$path" "$plain"
  send --request "$method" --header "Authorization: Bearer $stripe_key" "$@" "$stripe_url/v1/$path"
  [[ $status == 200 ]] || fail "Stripe answered $method $path with $status:" "$body"
}

# Asks again and again until the answer satisfies a filter of jq: what happens after a commit takes a moment.
until_answer() {
  local filter=$1 tries=0
  shift
  until send "$@" && [[ $status == 200 ]] && jq --exit-status "$filter" <<<"$body" >/dev/null; do
    tries=$((tries + 1))
    [[ $tries -le 150 ]] || fail "this did not come true within 30 seconds: $filter" "the last answer was $status:" "$body"
    sleep 0.2
  done
}

hex() { od -An -v -tx1 | tr -d ' \n'; }
# HMAC-SHA256 of standard input; the key is in hexadecimal.
hmac() { openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" -binary; }

# ---- The walk ------------------------------------------------------------------------------------------------------------------------

mark=$(openssl rand -hex 4)
email=ann-$mark@quickstart.example
password=$(openssl rand -base64 18)

printf '%sGuildhall at %s%s\n' "$bold" "$url" "$plain"
send "$url/readyz"
[[ $status == 200 ]] || fail "it is not ready: $body"
show .

step "Register" "Somebody new gives an address and a password. Nobody learns here whether the address is known."
api POST /auth/register "$(jq --null-input --arg email "$email" --arg password "$password" \
  '{email: $email, password: $password, display_name: "Ann"}')"
show '{status, expires_at}'
client_token=$(pick .client_token)

step "Read the mail" "It goes to the development mailbox instead of the world. Its link proves the address."
until_answer '.data | length > 0' --get --data-urlencode "to=$email" "$url/dev/mails"
show '.data[0] | {to, subject}'
token=$(pick '.data[0].text | capture("#(?<token>gld_[a-z]+_ot_[A-Za-z0-9]+)").token')
note "a person reads it at $url/dev/mails/$(pick '.data[0].id')"

step "Confirm the address" "The link's token, together with the one that registering answered, makes the account."
api POST /auth/email/verify "$(jq --null-input --arg token "$token" --arg client "$client_token" '{token: $token, client_token: $client}')"
show .

step "Log in" "The access token lives for minutes; a refresh token gets the next one."
api POST /auth/login "$(jq --null-input --arg email "$email" --arg password "$password" '{identifier: $email, password: $password}')"
show '{token_type, expires_in, session_id}'
credential="Bearer $(pick .access_token)"
api GET /me
show '{id, display_name, email, platform_role}'

step "Create a workspace" "Every row of business belongs to one, and the database itself keeps workspaces apart."
api POST /workspaces '{"name": "Lamplight Software"}'
show '{id, slug, name}'
workspace=$(pick .id)

step "Create an API key" "Programs call with it. It is shown once; the database holds only its hash."
api POST /api-keys '{"name": "quickstart", "expires_in_days": 1}'
show '{id, start, expires_at}'
key=$(pick .secret)
# A key belongs to one workspace, so it need not be named any more.
credential="Bearer $key" workspace=''
api GET /workspace
show '{slug, name}'

step "Make a product, a policy and a licence" "What the workspace sells, on which terms, and one sold: for two machines, for a year."
api POST /products '{"code": "lantern", "name": "Lantern"}'
show '{id, code, name}'
product=$(pick .id)
api POST /policies "$(jq --null-input --arg product "$product" \
  '{product_id: $product, code: "duo", name: "Duo", max_machines: 2, term_count: 1, term_unit: "year"}')"
show '{id, code, name}'
policy=$(pick .id)
api POST /licenses "$(jq --null-input --arg policy "$policy" '{policy_id: $policy, customer: {name: "Bob", email: "bob@example.com"}}')"
show '{id, status, expires_at}'
license=$(pick .id)
license_key=$(pick .key)

step "Activate it on three machines" "The customer's software does it, with the licence key alone. Two have a place; the third is refused."
credential="License $license_key"
for machine in desk laptop; do
  api POST /licenses/activate "$(jq --null-input --arg it "$machine" '{fingerprint: ("fingerprint of Bob'"'"'s " + $it), name: $it, platform: "linux"}')"
  show '{id, name, state}'
done
refused machine-limit-reached POST /licenses/activate '{"fingerprint": "fingerprint of Bob'"'"'s phone", "name": "phone"}'
show '{status, code, title, detail}'
good "refused, as it should be"
api POST /licenses/validate '{"scope": {"fingerprint": "fingerprint of Bob'"'"'s laptop"}}'
show '{valid, code, license: .license.id}'
[[ $(pick .valid) == true ]] || fail "the licence should be valid on the laptop"


step "Buy a plan at Stripe" "The workspace pays with a test card, as a shopper would. Stripe, or the stub that plays it, keeps the subscription."
credential="Bearer $key"
# The operator's books open an account for every new workspace; that takes a moment.
until_answer '.stripe_customer' --header "Authorization: $credential" "$url/api/v1/billing"
note "before: $(pick .plan.plan), with $(pick .plan.entitlements.agents) agents"
customer=$(pick .stripe_customer)
stripe POST payment_methods/pm_card_visa/attach --data-urlencode "customer=$customer"
card=$(pick .id)
stripe POST "customers/$customer" --data-urlencode "invoice_settings[default_payment_method]=$card"
stripe GET prices --get --data-urlencode 'lookup_keys[]=guildhall_pro_month'
price=$(pick '.data[0].id')
stripe POST subscriptions --data-urlencode "customer=$customer" --data-urlencode "items[0][price]=$price"
show '{id, customer, status}'
event=$(jq --compact-output --arg id "evt_$mark" --argjson now "$(date +%s)" \
  '{id: $id, object: "event", api_version: "2026-09-30.endive", created: $now, livemode: false, type: "customer.subscription.updated", data: {object: .}}' <<<"$body")

step "Deliver a Stripe event" "Signed as Stripe signs. It is only a hint: the server fetches the subscription again, and applies what Stripe says."
credential=''
now=$(date +%s)
signature=$(printf '%s.%s' "$now" "$event" | hmac "$(printf %s "$stripe_secret" | hex)" | hex)
extra=(--header "Stripe-Signature: t=$now,v1=${signature//[0-9]/0}")
refused invalid-signature POST /inbox/stripe/platform "$event"
good "a forged signature is refused"
extra=(--header "Stripe-Signature: t=$now,v1=$signature")
api POST /inbox/stripe/platform "$event"
show .
extra=()
credential="Bearer $key"
until_answer '.plan.plan == "pro"' --header "Authorization: $credential" "$url/api/v1/billing"
note "after: $(pick .plan.plan), with $(pick .plan.entitlements.agents) agents"
show '{subscription: .subscription.status, next_invoice}'

step "Listen for events" "A webhook endpoint hears of what happens. The server signs with a secret that only this answer shows."
api POST /webhook-endpoints "$(jq --null-input --arg url "$hooks_url/dev/hooks/$mark" \
  '{url: $url, description: "quickstart", events: ["run.completed"]}')"
show '{id, url, events, enabled}'
hook_secret=$(pick .secret)

step "Execute an agent" "A run is a durable job: a worker that dies half-way loses nothing. The sandbox provider answers without a model."
api POST /agents '{"name": "Echo", "framework": "openai", "config": {"model": "sandbox", "system": "Be brief.", "prompt": "{{ input.say }}"}}'
show '{id, name, framework}'
agent=$(pick .id)
api POST "/agents/$agent/execute" '{"input": {"say": "Hello from the quickstart"}}'
show '{id, status}'
run=$(pick .id)
until_answer '.status | . != "pending" and . != "running"' --header "Authorization: $credential" "$url/api/v1/runs/$run"
show '{id, status, output, usage}'
[[ $(pick .status) == completed ]] || fail "the run should have completed"

step "Receive and verify a webhook" "What came to the hook catcher, and whether it is from who it says: Standard Webhooks, checked with openssl."
until_answer '.data | length > 0' "$url/dev/hooks/$mark"
header() { pick "[.data[0].headers[] | select(.[0] == \"$1\")][0][1]"; }
id=$(header webhook-id) sent=$(header webhook-timestamp) signatures=$(header webhook-signature)
note "webhook-id: $id"
note "webhook-timestamp: $sent"
note "webhook-signature: $signatures"
payload=$(pick '.data[0].body')
jq --compact-output '{type, timestamp, run: .data.id}' <<<"$payload" | sed "s/^/    $dim/; s/\$/$plain/"
age=$(($(date +%s) - sent))
[[ ${age#-} -le 300 ]] || fail "it was signed $age seconds ago: it may be a copy"
secret_hex=$(printf '%s' "${hook_secret#whsec_}" | openssl base64 -d -A | hex)
expected=v1,$(printf '%s.%s.%s' "$id" "$sent" "$payload" | hmac "$secret_hex" | openssl base64 -A)
[[ " $signatures " == *" $expected "* ]] || fail "the signature is not the server's:" "computed $expected" "received $signatures"
good "the signature is right"
[[ $(jq --raw-output .data.id <<<"$payload") == "$run" ]] || fail "it is about another run"

step "Look at the audit log" "Every change is written down with the change itself, by whom and when."
api GET '/audit-entries?limit=100'
jq --raw-output '.data | reverse[] | "    \(.created_at)  \(.action)  by \(.actor.type)"' <<<"$body"

printf '\n%s✓ That was everything.%s The API is described at %s/docs\n' "$green$bold" "$plain" "$url"
printf '  licence %s, run %s\n' "$license" "$run"
