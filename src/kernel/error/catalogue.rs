//! The refusals that every slice shares. A slice adds its own in its `model.rs`.

crate::problems! {
    /// The body is not JSON, or is nested too deeply.
    /// Cause: a comma or a bracket is missing, text is not UTF-8, or a number or a name stands twice.
    /// Fix: send one JSON document in UTF-8, at most 64 levels deep.
    pub INVALID_JSON = 400, "invalid-json", "The body is not acceptable JSON";
    /// A query parameter has a value that it cannot have.
    /// Cause: a number is outside of its bounds, a time is not RFC 3339, or a word is not one of those listed.
    /// Fix: look at `errors`; each names the parameter and what it may be.
    pub INVALID_PARAMETER = 400, "invalid-parameter", "A query parameter is not acceptable";
    /// The operation does not have that query parameter. A typo in a filter must not return everything.
    /// Cause: a misspelt filter, or one of another list.
    /// Fix: check the spelling against the API reference.
    pub UNKNOWN_PARAMETER = 400, "unknown-parameter", "There is no such query parameter";
    /// The cursor was altered, has expired, or belongs to another list, filter or workspace.
    /// Cause: filters or order were changed between two pages, or the cursor was kept for days.
    /// Fix: start again without a cursor, and pass `next_cursor` unchanged with the same filters.
    pub INVALID_CURSOR = 400, "invalid-cursor", "The cursor is not valid here";
    /// More than 100,000 rows were asked for at once.
    /// Cause: a whole list was asked for, over a long time.
    /// Fix: narrow the time with `created_after` and `created_before`, and ask several times.
    pub TOO_MANY_ROWS = 400, "too-many-rows", "So many rows are not given at once";
    /// A header has a value that it cannot have.
    /// Cause: a value in another form than the header's, as an `If-Match` without quotes, or a header that was sent twice.
    /// Fix: look at `errors`; each names the header and what it may be.
    pub INVALID_HEADER = 400, "invalid-header", "A header is not acceptable";
    /// `Guildhall-Version` names a date that this API never had.
    /// Cause: a mistyped date, or the version of another service.
    /// Fix: leave the header out, or use a date listed in the API reference.
    pub UNKNOWN_API_VERSION = 400, "unknown-api-version", "There is no such API version";
    /// You belong to several workspaces (or none), and the request does not say which one it is about.
    /// Cause: a personal credential of somebody with several workspaces, and no `Guildhall-Workspace`.
    /// Fix: send `Guildhall-Workspace` with an id or slug; the member `workspaces` lists yours.
    pub WORKSPACE_REQUIRED = 400, "workspace-required", "Say which workspace you mean";
    /// The credential belongs to one workspace, and the header names another.
    /// Cause: one program uses keys of several workspaces, and sends the header of another one.
    /// Fix: leave `Guildhall-Workspace` out, or use a credential of that workspace.
    pub WORKSPACE_MISMATCH = 400, "workspace-mismatch", "The credential belongs to another workspace";
    /// The request carries more than one credential.
    /// Cause: a browser sends its session cookie beside the header that the program sets.
    /// Fix: send exactly one of `Authorization`, `X-Api-Key` and the session cookie.
    pub AMBIGUOUS_CREDENTIALS = 400, "ambiguous-credentials", "Send one credential";
    /// The signature of an incoming event is missing, malformed, too old or wrong.
    /// Cause: the secret of another endpoint, a body that was parsed and written anew before it was signed, or a clock that is wrong.
    /// Fix: sign the raw body with the secret of this endpoint, and send it within five minutes.
    pub INVALID_SIGNATURE = 400, "invalid-signature", "The signature does not match";

    /// No credential came with the request.
    /// Cause: the header was forgotten, or a proxy removed it.
    /// Fix: send `Authorization: Bearer …` or `X-Api-Key: …`.
    pub UNAUTHENTICATED = 401, "unauthenticated", "Sign in first";
    /// The access token is malformed, was not issued here, or was altered.
    /// Cause: the token was cut off while it was copied, or is of another deployment.
    /// Fix: sign in again, or refresh.
    pub TOKEN_INVALID = 401, "token-invalid", "The access token is not valid";
    /// The access token has expired.
    /// Cause: the token is older than ten minutes, as every access token is after a while.
    /// Fix: refresh it at `POST /api/v1/auth/refresh`.
    pub TOKEN_EXPIRED = 401, "token-expired", "The access token has expired";
    /// The address and the password do not belong together, or there is no such account.
    /// Cause: a mistyped password, or an account that was made with another address.
    /// Fix: check both, or reset the password.
    pub INVALID_CREDENTIALS = 401, "invalid-credentials", "Wrong address or password";
    /// The key is malformed or unknown.
    /// Cause: the key was cut off while it was copied, or is of another deployment: test keys open no live one.
    /// Fix: copy the key again, or make a new one.
    pub INVALID_API_KEY = 401, "invalid-api-key", "The API key is not valid";
    /// The key has passed its expiry.
    /// Cause: nobody replaced the key before the day that was chosen when it was made.
    /// Fix: make a new key.
    pub API_KEY_EXPIRED = 401, "api-key-expired", "The API key has expired";
    /// The key was revoked.
    /// Cause: somebody revoked it, it was replaced by another, or its owner left the workspace.
    /// Fix: make a new key.
    pub API_KEY_REVOKED = 401, "api-key-revoked", "The API key was revoked";
    /// The session was ended: by signing out, by a changed password, or from another device.
    /// Cause: somebody signed out on this device, changed the password, or ended other sessions.
    /// Fix: sign in again.
    pub SESSION_REVOKED = 401, "session-revoked", "The session was ended";
    /// The session was not used for too long, or has reached its greatest age.
    /// Cause: nobody was here for two weeks, or the last sign-in is a month ago.
    /// Fix: sign in again.
    pub SESSION_EXPIRED = 401, "session-expired", "The session has expired";
    /// The refresh token is malformed or was not issued here.
    /// Cause: the token was cut off while it was stored, is of another deployment, or an access token was sent instead.
    /// Fix: sign in again.
    pub REFRESH_TOKEN_INVALID = 401, "refresh-token-invalid", "The refresh token is not valid";
    /// An old refresh token was used after its successor: a sign that it was stolen. The session was ended.
    /// Cause: two programs hold copies of one token, or somebody stole it.
    /// Fix: sign in again, and look at your sessions.
    pub REFRESH_TOKEN_REUSED = 401, "refresh-token-reused", "The refresh token was already used";
    /// The link or code is unknown, was already used, or has expired.
    /// Cause: a link of an older mail, or one that was opened before.
    /// Fix: ask for a new one.
    pub ONE_TIME_TOKEN_INVALID = 401, "one-time-token-invalid", "The link or code is no longer valid";

    /// The plan of the workspace allows no more of this: `entitlement` says of what, `limit` how much, `used` how much there is.
    /// Cause: the workspace has grown to what its plan allows.
    /// Fix: remove something, or move from `plan` to `next_plan`, the smallest that allows more; `upgrade_url` shows what there is.
    pub PLAN_LIMIT_REACHED = 402, "plan-limit-reached", "The plan's limit is reached";
    /// Every seat of the plan is taken.
    /// Cause: members and open invitations together take all seats.
    /// Fix: remove a member or an invitation, or add seats.
    pub SEAT_LIMIT_REACHED = 402, "seat-limit-reached", "All seats are taken";
    /// The plan of the workspace does not include this.
    /// Cause: the feature belongs to a larger plan.
    /// Fix: move to a plan that does.
    pub FEATURE_NOT_IN_PLAN = 402, "feature-not-in-plan", "The plan does not include this";
    /// The workspace's subscription is unpaid; reading, paying, exporting and deleting still work.
    /// Cause: a card has expired, or a payment was declined several times.
    /// Fix: settle the open invoice; `portal_url` shows it. `since` says since when access is limited.
    pub PAYMENT_REQUIRED = 402, "payment-required", "A payment is due";

    /// You may not do this here. `required_permission` names what is missing.
    /// Cause: the caller's role in this workspace does not include it.
    /// Fix: ask an administrator of the workspace for a role that has it.
    pub FORBIDDEN = 403, "forbidden", "You may not do this";
    /// This needs a recent sign-in.
    /// Cause: the last sign-in is more than fifteen minutes ago, and this changes how people get in.
    /// Fix: confirm who you are at `POST /api/v1/auth/step-up`, then repeat the request.
    pub STEP_UP_REQUIRED = 403, "step-up-required", "Confirm who you are";
    /// This is about a person who is signed in, and the request came with a key.
    /// Cause: a program that works with a key called something that belongs to a person, or makes or changes a credential.
    /// Fix: sign in, and repeat the request with the access token.
    pub SESSION_REQUIRED = 403, "session-required", "Sign in for this";
    /// A security rule of the workspace forbids it; `policy` names the rule.
    /// Cause: the workspace asks for a second factor, certain sign-in methods or certain networks.
    /// Fix: satisfy the rule, or ask an administrator.
    pub WORKSPACE_POLICY = 403, "workspace-policy", "A rule of the workspace forbids this";
    /// The e-mail address of the account is not proven yet.
    /// Cause: the link in the first mail was never opened.
    /// Fix: follow the link that was mailed.
    pub EMAIL_NOT_VERIFIED = 403, "email-not-verified", "Confirm your e-mail address first";
    /// The account was suspended by the operator.
    /// Cause: a report of abuse, or a request of the account's owner.
    /// Fix: write to support.
    pub ACCOUNT_SUSPENDED = 403, "account-suspended", "The account is suspended";
    /// The workspace was suspended by the operator.
    /// Cause: a report of abuse, or bills that stayed open for long.
    /// Fix: write to support. Billing, exports and the owners' reads still work.
    pub WORKSPACE_SUSPENDED = 403, "workspace-suspended", "The workspace is suspended";
    /// The credential may not be used from this address.
    /// Cause: the key lists networks, and the program runs elsewhere since, or behind a proxy that is not trusted.
    /// Fix: use an allowed address, or change the key's list.
    pub IP_NOT_ALLOWED = 403, "ip-not-allowed", "Not from this address";
    /// A request with a session cookie did not come from an allowed page.
    /// Cause: a page of another origin sent it, or the application's origin is not in `cors.origins`.
    /// Fix: send it from the application's own origin, or use a bearer token.
    pub CSRF_FAILED = 403, "csrf-failed", "The request did not come from an allowed page";
    /// Nobody can grant, assign or invite to what they do not hold themselves.
    /// Cause: the role, or the key, that is to be given may do more than the one who gives it.
    /// Fix: ask somebody who holds it.
    pub CANNOT_GRANT = 403, "cannot-grant", "You cannot grant what you do not have";
    /// The key exists and is yours, but its scopes do not include this.
    /// Cause: the key was made with few permissions, and the program does more than at first.
    /// Fix: make a key with the scope named in `required_permission`.
    pub SCOPE_MISSING = 403, "scope-missing", "The credential lacks a scope";

    /// There is no such thing, or it belongs to somebody else: the two read the same.
    /// Cause: a mistyped id, an id of another workspace, or a thing that was deleted.
    /// Fix: check the id, and that the right workspace is chosen.
    pub NOT_FOUND = 404, "not-found", "There is no such thing";
    /// The API has no such address.
    /// Cause: a mistyped path, or `/api/v1` is missing before it.
    /// Fix: check the path against the API reference. A trailing slash is another address.
    pub ROUTE_NOT_FOUND = 404, "route-not-found", "There is no such address";
    /// The address exists, but not with this method.
    /// Cause: a `POST` where the API wants `PATCH`, or the other way round.
    /// Fix: use one of the methods in `Allow`.
    pub METHOD_NOT_ALLOWED = 405, "method-not-allowed", "Not with this method";
    /// The answer cannot be given in any media type of `Accept`.
    /// Cause: a client that asks for one media type alone.
    /// Fix: accept `application/json`, which everything is given in.
    pub NOT_ACCEPTABLE = 406, "not-acceptable", "No acceptable media type";
    /// The request came in too slowly.
    /// Cause: a slow or broken connection.
    /// Fix: send it faster, or smaller.
    pub REQUEST_TIMEOUT = 408, "request-timeout", "The request took too long to arrive";
    /// Another one of the workspace has that name.
    /// Cause: the thing exists already: names are unique in a workspace.
    /// Fix: choose another name.
    pub NAME_TAKEN = 409, "name-taken", "That name is already in use";
    /// Another one has that slug.
    /// Cause: the slug belongs to somebody, or did until lately.
    /// Fix: choose another slug.
    pub SLUG_TAKEN = 409, "slug-taken", "That slug is already in use";
    /// Somebody else has that user name.
    /// Cause: a common name.
    /// Fix: choose another one.
    pub USERNAME_TAKEN = 409, "username-taken", "That user name is already in use";
    /// Another one of the workspace has that external id.
    /// Cause: the same record of your own system was sent twice.
    /// Fix: choose another, or change the one that has it.
    pub EXTERNAL_ID_TAKEN = 409, "external-id-taken", "That external id is already in use";
    /// A workspace always keeps an owner.
    /// Cause: the only owner leaves, or takes the role from themselves.
    /// Fix: make somebody else an owner first.
    pub LAST_OWNER = 409, "last-owner", "The last owner cannot go";
    /// The same request is being worked on at this moment.
    /// Cause: a client repeated the request before the first answer came.
    /// Fix: repeat it after a second with the same `Idempotency-Key`.
    pub IDEMPOTENCY_IN_PROGRESS = 409, "idempotency-in-progress", "The same request is in progress";
    /// The thing is not in a state that allows this; `state` says which it is in.
    /// Cause: somebody else, or a job, changed it since it was looked at.
    /// Fix: look at it again.
    pub STATE_CONFLICT = 409, "state-conflict", "Not in its present state";
    /// It existed, and what is asked for was removed since.
    /// Cause: its time was over, or it was deleted for good.
    /// Fix: nothing brings it back.
    pub GONE = 410, "gone", "No longer there";
    /// It was changed since you read it; `current_version` says to what, or `current_etag` where versions begin again. Without either it is gone,
    /// or never was.
    /// Cause: two people, or two programs, changed it at the same time.
    /// Fix: read it again, apply your change to that, and send the new `If-Match`.
    pub VERSION_MISMATCH = 412, "version-mismatch", "It was changed meanwhile";
    /// The body is larger than this operation takes.
    /// Cause: many things in one request, or a file where a reference is meant.
    /// Fix: send less, or split it.
    pub BODY_TOO_LARGE = 413, "body-too-large", "The body is too large";
    /// The body is not in a media type that this operation takes, or is compressed.
    /// Cause: a client that sends forms by default, or one that compresses bodies.
    /// Fix: send `Content-Type: application/json` without `Content-Encoding`.
    pub UNSUPPORTED_MEDIA_TYPE = 415, "unsupported-media-type", "Not in this media type";
    /// Some fields are not acceptable; `errors` lists all of them.
    /// Cause: a missing or misspelt field, or a value outside of its bounds.
    /// Fix: mend each field that a pointer names.
    pub VALIDATION_FAILED = 422, "validation-failed", "Some fields are not acceptable";
    /// The key was used before for another request of this operation: with another body, or of another thing.
    /// Cause: the key is made of something that does not change, as a date or a customer's id.
    /// Fix: use a new key for a new request.
    pub IDEMPOTENCY_KEY_REUSED = 422, "idempotency-key-reused", "That idempotency key belongs to another request";
    /// The address is not one that this service may call.
    /// Cause: an address of a private network, a port that is not allowed, or a name that leads to either.
    /// Fix: use a public https address.
    pub TARGET_NOT_ALLOWED = 422, "target-not-allowed", "That address cannot be used";
    /// A permission in the list does not exist.
    /// Cause: a misspelt name: they read `resource:action`.
    /// Fix: `GET /api/v1/permissions` lists them.
    pub UNKNOWN_PERMISSION = 422, "unknown-permission", "There is no such permission";
    /// A blind overwrite would destroy work here.
    /// Cause: `If-Match` is missing.
    /// Fix: send `If-Match` with the version that you read.
    pub PRECONDITION_REQUIRED = 428, "precondition-required", "Say which version you are changing";
    /// Too many requests; `bucket` names the limit.
    /// Cause: a loop without a pause, or many programs behind one key or address; with `concurrency`, too many requests at once.
    /// Fix: wait for `Retry-After` seconds; with `concurrency`, ask for less at once.
    pub RATE_LIMITED = 429, "rate-limited", "Too many requests";
    /// Too many wrong passwords or codes.
    /// Cause: a forgotten password, or somebody who guesses.
    /// Fix: wait for `Retry-After` seconds. Trying meanwhile changes nothing.
    pub TOO_MANY_ATTEMPTS = 429, "too-many-attempts", "Too many attempts";
    /// The head of the request is larger than 16 KiB.
    /// Cause: cookies of other applications on the same domain.
    /// Fix: send fewer or shorter headers.
    pub HEAD_TOO_LARGE = 431, "head-too-large", "The headers are too large";
    /// Something broke on our side. It was reported.
    /// Cause: a mistake in this server.
    /// Fix: repeat the request; if it stays, write to support with the `request_id`.
    pub INTERNAL = 500, "internal", "Something broke on our side";
    /// More is asked of us than we can do at this moment.
    /// Cause: many more requests than usual, from everybody together.
    /// Fix: repeat after `Retry-After` seconds. `outcome` says whether a write may have happened.
    pub OVERLOADED = 503, "overloaded", "Too busy at this moment";
    /// This process has not looked yet whether it may serve.
    /// Cause: it has just begun, and its database is away or slow; or it will be refused in a moment.
    /// Fix: repeat after `Retry-After` seconds. Only `/readyz` says where traffic may go.
    pub STARTING = 503, "starting", "This process is not ready yet";
    /// The database cannot be reached at this moment.
    /// Cause: a restart, or a move to another database server; it takes seconds.
    /// Fix: repeat after `Retry-After` seconds, a write with the same `Idempotency-Key`.
    pub DATABASE_UNAVAILABLE = 503, "database-unavailable", "The database is away";
    /// Something that is needed for the answer cannot be reached; `dependency` names it.
    /// Cause: a service of somebody else has trouble, or cannot be reached from here.
    /// Fix: repeat after `Retry-After` seconds.
    pub DEPENDENCY_UNAVAILABLE = 503, "dependency-unavailable", "A service that we need is away";
    /// The answer was not ready in time.
    /// Cause: much traffic, or a request that touches very many things.
    /// Fix: repeat after `Retry-After` seconds, a write with the same `Idempotency-Key`.
    pub DEADLINE_EXCEEDED = 503, "deadline-exceeded", "It took too long";
}
