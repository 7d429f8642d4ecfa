//! The refusals that every slice shares. A slice adds its own in its `model.rs`.

crate::problems! {
    /// The body is not JSON, or is nested too deeply.
    /// Fix: send one JSON document in UTF-8, at most 64 levels deep.
    pub INVALID_JSON = 400, "invalid-json", "The body is not acceptable JSON";
    /// A query parameter has a value that it cannot have.
    /// Fix: look at `errors`; each names the parameter and what it may be.
    pub INVALID_PARAMETER = 400, "invalid-parameter", "A query parameter is not acceptable";
    /// The operation does not have that query parameter. A typo in a filter must not return everything.
    /// Fix: check the spelling against the API reference.
    pub UNKNOWN_PARAMETER = 400, "unknown-parameter", "There is no such query parameter";
    /// The cursor was altered, has expired, or belongs to another list, filter or workspace.
    /// Fix: start again without a cursor, and pass `next_cursor` unchanged with the same filters.
    pub INVALID_CURSOR = 400, "invalid-cursor", "The cursor is not valid here";
    /// A header has a value that it cannot have.
    /// Fix: look at `errors`; each names the header and what it may be.
    pub INVALID_HEADER = 400, "invalid-header", "A header is not acceptable";
    /// `Guildhall-Version` names a date that this API never had.
    /// Fix: leave the header out, or use a date listed in the API reference.
    pub UNKNOWN_API_VERSION = 400, "unknown-api-version", "There is no such API version";
    /// You belong to several workspaces (or none), and the request does not say which one it is about.
    /// Fix: send `Guildhall-Workspace` with an id or slug; the member `workspaces` lists yours.
    pub WORKSPACE_REQUIRED = 400, "workspace-required", "Say which workspace you mean";
    /// The credential belongs to one workspace, and the header names another.
    /// Fix: leave `Guildhall-Workspace` out, or use a credential of that workspace.
    pub WORKSPACE_MISMATCH = 400, "workspace-mismatch", "The credential belongs to another workspace";
    /// The request carries more than one credential.
    /// Fix: send exactly one of `Authorization`, `X-Api-Key` and the session cookie.
    pub AMBIGUOUS_CREDENTIALS = 400, "ambiguous-credentials", "Send one credential";
    /// The signature of an incoming event is missing, malformed, too old or wrong.
    /// Fix: sign the raw body with the secret of this endpoint, and send it within five minutes.
    pub INVALID_SIGNATURE = 400, "invalid-signature", "The signature does not match";

    /// No credential came with the request.
    /// Fix: send `Authorization: Bearer …` or `X-Api-Key: …`.
    pub UNAUTHENTICATED = 401, "unauthenticated", "Sign in first";
    /// The access token is malformed, was not issued here, or was altered.
    /// Fix: sign in again, or refresh.
    pub TOKEN_INVALID = 401, "token-invalid", "The access token is not valid";
    /// The access token has expired.
    /// Fix: refresh it at `POST /api/v1/auth/refresh`.
    pub TOKEN_EXPIRED = 401, "token-expired", "The access token has expired";
    /// The address and the password do not belong together, or there is no such account.
    /// Fix: check both, or reset the password.
    pub INVALID_CREDENTIALS = 401, "invalid-credentials", "Wrong address or password";
    /// The key is malformed or unknown.
    /// Fix: copy the key again, or make a new one.
    pub INVALID_API_KEY = 401, "invalid-api-key", "The API key is not valid";
    /// The key has passed its expiry.
    /// Fix: make a new key.
    pub API_KEY_EXPIRED = 401, "api-key-expired", "The API key has expired";
    /// The key was revoked.
    /// Fix: make a new key.
    pub API_KEY_REVOKED = 401, "api-key-revoked", "The API key was revoked";
    /// The session was ended: by signing out, by a changed password, or from another device.
    /// Fix: sign in again.
    pub SESSION_REVOKED = 401, "session-revoked", "The session was ended";
    /// The session was not used for too long, or has reached its greatest age.
    /// Fix: sign in again.
    pub SESSION_EXPIRED = 401, "session-expired", "The session has expired";
    /// The refresh token is malformed or was not issued here.
    /// Fix: sign in again.
    pub REFRESH_TOKEN_INVALID = 401, "refresh-token-invalid", "The refresh token is not valid";
    /// An old refresh token was used after its successor: a sign that it was stolen. The session was ended.
    /// Fix: sign in again, and look at your sessions.
    pub REFRESH_TOKEN_REUSED = 401, "refresh-token-reused", "The refresh token was already used";
    /// The link or code is unknown, was already used, or has expired.
    /// Fix: ask for a new one.
    pub ONE_TIME_TOKEN_INVALID = 401, "one-time-token-invalid", "The link or code is no longer valid";

    /// The plan of the workspace allows no more of this: `entitlement` says of what, `limit` how much, `used` how much there is.
    /// Fix: remove something, or move from `plan` to `next_plan`, the smallest that allows more; `upgrade_url` shows what there is.
    pub PLAN_LIMIT_REACHED = 402, "plan-limit-reached", "The plan's limit is reached";
    /// Every seat of the plan is taken.
    /// Fix: remove a member or an invitation, or add seats.
    pub SEAT_LIMIT_REACHED = 402, "seat-limit-reached", "All seats are taken";
    /// The plan of the workspace does not include this.
    /// Fix: move to a plan that does.
    pub FEATURE_NOT_IN_PLAN = 402, "feature-not-in-plan", "The plan does not include this";
    /// The workspace's subscription is unpaid; reading, paying, exporting and deleting still work.
    /// Fix: settle the open invoice; `portal_url` shows it. `since` says since when access is limited.
    pub PAYMENT_REQUIRED = 402, "payment-required", "A payment is due";

    /// You may not do this here. `required_permission` names what is missing.
    /// Fix: ask an administrator of the workspace for a role that has it.
    pub FORBIDDEN = 403, "forbidden", "You may not do this";
    /// This needs a recent sign-in.
    /// Fix: confirm who you are at `POST /api/v1/auth/step-up`, then repeat the request.
    pub STEP_UP_REQUIRED = 403, "step-up-required", "Confirm who you are";
    /// A security rule of the workspace forbids it; `policy` names the rule.
    /// Fix: satisfy the rule, or ask an administrator.
    pub WORKSPACE_POLICY = 403, "workspace-policy", "A rule of the workspace forbids this";
    /// The e-mail address of the account is not proven yet.
    /// Fix: follow the link that was mailed.
    pub EMAIL_NOT_VERIFIED = 403, "email-not-verified", "Confirm your e-mail address first";
    /// The account was suspended by the operator.
    /// Fix: write to support.
    pub ACCOUNT_SUSPENDED = 403, "account-suspended", "The account is suspended";
    /// The workspace was suspended by the operator.
    /// Fix: write to support. Billing, exports and the owners' reads still work.
    pub WORKSPACE_SUSPENDED = 403, "workspace-suspended", "The workspace is suspended";
    /// The credential may not be used from this address.
    /// Fix: use an allowed address, or change the key's list.
    pub IP_NOT_ALLOWED = 403, "ip-not-allowed", "Not from this address";
    /// A request with a session cookie did not come from an allowed page.
    /// Fix: send it from the application's own origin, or use a bearer token.
    pub CSRF_FAILED = 403, "csrf-failed", "The request did not come from an allowed page";
    /// Nobody can grant, assign or invite to what they do not hold themselves.
    /// Fix: ask somebody who holds it.
    pub CANNOT_GRANT = 403, "cannot-grant", "You cannot grant what you do not have";
    /// The key exists and is yours, but its scopes do not include this.
    /// Fix: make a key with the scope named in `required_permission`.
    pub SCOPE_MISSING = 403, "scope-missing", "The credential lacks a scope";

    /// There is no such thing, or it belongs to somebody else: the two read the same.
    /// Fix: check the id, and that the right workspace is chosen.
    pub NOT_FOUND = 404, "not-found", "There is no such thing";
    /// The API has no such address.
    /// Fix: check the path against the API reference. A trailing slash is another address.
    pub ROUTE_NOT_FOUND = 404, "route-not-found", "There is no such address";
    /// The address exists, but not with this method.
    /// Fix: use one of the methods in `Allow`.
    pub METHOD_NOT_ALLOWED = 405, "method-not-allowed", "Not with this method";
    /// The answer cannot be given in any media type of `Accept`.
    /// Fix: accept `application/json`.
    pub NOT_ACCEPTABLE = 406, "not-acceptable", "No acceptable media type";
    /// The request came in too slowly.
    /// Fix: send it faster, or smaller.
    pub REQUEST_TIMEOUT = 408, "request-timeout", "The request took too long to arrive";
    /// Another one of the workspace has that name.
    /// Fix: choose another name.
    pub NAME_TAKEN = 409, "name-taken", "That name is already in use";
    /// Another one has that slug.
    /// Fix: choose another slug.
    pub SLUG_TAKEN = 409, "slug-taken", "That slug is already in use";
    /// Somebody else has that user name.
    /// Fix: choose another one.
    pub USERNAME_TAKEN = 409, "username-taken", "That user name is already in use";
    /// Another one of the workspace has that external id.
    /// Fix: choose another, or change the one that has it.
    pub EXTERNAL_ID_TAKEN = 409, "external-id-taken", "That external id is already in use";
    /// A workspace always keeps an owner.
    /// Fix: make somebody else an owner first.
    pub LAST_OWNER = 409, "last-owner", "The last owner cannot go";
    /// The same request is being worked on at this moment.
    /// Fix: repeat it after a second with the same `Idempotency-Key`.
    pub IDEMPOTENCY_IN_PROGRESS = 409, "idempotency-in-progress", "The same request is in progress";
    /// The thing is not in a state that allows this; `state` says which it is in.
    /// Fix: look at it again.
    pub STATE_CONFLICT = 409, "state-conflict", "Not in its present state";
    /// It existed, and what is asked for was removed since.
    /// Fix: nothing brings it back.
    pub GONE = 410, "gone", "No longer there";
    /// It was changed since you read it; `current_version` says to what.
    /// Fix: read it again, apply your change to that, and send the new `If-Match`.
    pub VERSION_MISMATCH = 412, "version-mismatch", "It was changed meanwhile";
    /// The body is larger than this operation takes.
    /// Fix: send less, or split it.
    pub BODY_TOO_LARGE = 413, "body-too-large", "The body is too large";
    /// The body is not in a media type that this operation takes, or is compressed.
    /// Fix: send `Content-Type: application/json` without `Content-Encoding`.
    pub UNSUPPORTED_MEDIA_TYPE = 415, "unsupported-media-type", "Not in this media type";
    /// Some fields are not acceptable; `errors` lists all of them.
    /// Fix: mend each field that a pointer names.
    pub VALIDATION_FAILED = 422, "validation-failed", "Some fields are not acceptable";
    /// The key was used before for a request with another body.
    /// Fix: use a new key for a new request.
    pub IDEMPOTENCY_KEY_REUSED = 422, "idempotency-key-reused", "That idempotency key belongs to another request";
    /// The address is not one that this service may call.
    /// Fix: use a public https address.
    pub TARGET_NOT_ALLOWED = 422, "target-not-allowed", "That address cannot be used";
    /// A permission in the list does not exist.
    /// Fix: `GET /api/v1/permissions` lists them.
    pub UNKNOWN_PERMISSION = 422, "unknown-permission", "There is no such permission";
    /// A blind overwrite would destroy work here.
    /// Fix: send `If-Match` with the version that you read.
    pub PRECONDITION_REQUIRED = 428, "precondition-required", "Say which version you are changing";
    /// Too many requests; `bucket` names the limit.
    /// Fix: wait for `Retry-After` seconds.
    pub RATE_LIMITED = 429, "rate-limited", "Too many requests";
    /// Too many wrong passwords or codes.
    /// Fix: wait for `Retry-After` seconds. Trying meanwhile changes nothing.
    pub TOO_MANY_ATTEMPTS = 429, "too-many-attempts", "Too many attempts";
    /// The head of the request is larger than 16 KiB.
    /// Fix: send fewer or shorter headers.
    pub HEAD_TOO_LARGE = 431, "head-too-large", "The headers are too large";
    /// Something broke on our side. It was reported.
    /// Fix: repeat the request; if it stays, write to support with the `request_id`.
    pub INTERNAL = 500, "internal", "Something broke on our side";
    /// More is asked of us than we can do at this moment.
    /// Fix: repeat after `Retry-After` seconds. `outcome` says whether a write may have happened.
    pub OVERLOADED = 503, "overloaded", "Too busy at this moment";
    /// The database cannot be reached at this moment.
    /// Fix: repeat after `Retry-After` seconds, a write with the same `Idempotency-Key`.
    pub DATABASE_UNAVAILABLE = 503, "database-unavailable", "The database is away";
    /// Something that is needed for the answer cannot be reached; `dependency` names it.
    /// Fix: repeat after `Retry-After` seconds.
    pub DEPENDENCY_UNAVAILABLE = 503, "dependency-unavailable", "A service that we need is away";
    /// The answer was not ready in time.
    /// Fix: repeat after `Retry-After` seconds, a write with the same `Idempotency-Key`.
    pub DEADLINE_EXCEEDED = 503, "deadline-exceeded", "It took too long";
}
