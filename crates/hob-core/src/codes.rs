//! Every error that a person can meet has a number, `HOB-nnnn`, and a page in `docs/errors/` that `hob explain` shows.

/// An error's number, its HTTP status, and its one-line title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The number in `HOB-nnnn`.
    pub number: u16,
    /// The HTTP status that it travels with.
    pub status: u16,
    /// What it means, in a few words.
    pub title: &'static str,
}

impl Code {
    /// `HOB-0042`.
    pub fn name(&self) -> String {
        format!("HOB-{:04}", self.number)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $status:literal, $title:literal;)*) => {
        /// The codes by name.
        pub mod code {
            use super::Code;
            $($(#[$doc])* pub const $name: Code = Code { number: $number, status: $status, title: $title };)*
        }

        /// All codes, by number.
        pub const CODES: &[Code] = &[$(code::$name),*];
    };
}

codes! {
    /// Something in Hob failed; its log says more.
    INTERNAL = 1, 500, "Hob failed";
    /// The request is not understood.
    BAD_REQUEST = 2, 400, "The request is not understood";
    /// No token, or one that Hob does not know.
    NO_TOKEN = 3, 401, "A token is needed";
    /// The token does not allow this.
    NOT_ALLOWED = 4, 403, "The token does not allow this";
    /// There is no such thing.
    NOT_FOUND = 5, 404, "There is no such thing";
    /// The method does not apply here.
    BAD_METHOD = 6, 405, "This method does not apply here";
    /// It changed in between, or contradicts what is there.
    CONFLICT = 7, 409, "It contradicts what is there";
    /// The body is too large.
    TOO_LARGE = 8, 413, "The body is too large";
    /// The body has a media type that this resource does not read.
    MEDIA_TYPE = 9, 415, "This media type is not read here";
    /// The body is well formed, yet wrong.
    INVALID = 10, 422, "The content is wrong";
    /// Too much at once.
    TOO_MANY = 11, 429, "Too much at once";
    /// Hob is starting, stopping, or cannot write.
    UNAVAILABLE = 12, 503, "Not available now";
    /// The disk is full.
    DISK_FULL = 13, 507, "The disk is full";
    /// A file that declares something is wrong.
    DECLARATION = 20, 422, "A declaration is wrong";
    /// Another service owns the topic.
    TOPIC_OWNED = 21, 403, "Another service owns this topic";
    /// The topic is not declared.
    TOPIC_UNKNOWN = 22, 404, "This topic is not declared";
    /// The event is wrong.
    EVENT = 23, 422, "The event is wrong";
    /// The lease has run out or was never given.
    LEASE = 24, 409, "The lease is not held";
    /// The cursor points before the oldest event kept.
    CURSOR_EXPIRED = 25, 410, "The cursor has expired";
    /// The package is wrong.
    PACKAGE = 30, 422, "The package is wrong";
    /// The build command failed.
    BUILD = 31, 422, "The build failed";
    /// A rollout did not reach its goal.
    ROLLOUT = 32, 409, "The rollout did not succeed";
    /// There is no earlier release to go back to.
    NO_ROLLBACK = 33, 409, "There is nothing to go back to";
    /// A rule is wrong.
    RULE = 40, 422, "A rule is wrong";
    /// The issue is past the state that this asks for.
    ISSUE_STATE = 41, 409, "The issue's state does not allow this";
    /// A port is in use.
    PORT = 50, 503, "A port is in use";
    /// The data directory is used by another Hob, or by another version.
    DATA_DIRECTORY = 51, 503, "The data directory cannot be used";
    /// A program that is needed is missing.
    TOOL = 52, 503, "A program is missing";
    /// No route leads to a service.
    NO_ROUTE = 60, 404, "No route leads here";
    /// No instance can take the request now.
    NO_INSTANCE = 61, 503, "No instance can take the request";
    /// The instance gave no proper answer.
    BAD_INSTANCE = 62, 502, "The instance gave no proper answer";
    /// The instance took too long.
    INSTANCE_TIMEOUT = 63, 504, "The instance took too long";
    /// More was published on a topic than its quota allows.
    QUOTA = 70, 429, "The topic's quota is used up";
    /// An idempotency key was used before, with another body.
    KEY_REUSED = 71, 422, "This key belongs to another request";
    /// The request with this idempotency key is still under way.
    KEY_BUSY = 72, 409, "The first request with this key is under way";
    /// The scope has as many events held back as may be.
    DELAYED = 73, 429, "Too many events are held back";
    /// A cursor would be ahead of the log.
    SEEK_AHEAD = 74, 422, "The cursor would be ahead of the log";
    /// There is no such place in the log.
    SEEK = 75, 422, "There is no such place in the log";
    /// A subscription's filter is wrong.
    FILTER = 77, 422, "A filter is wrong";
    /// A subscription's endpoint may not be called.
    SINK = 78, 422, "This endpoint may not be called";
    /// The index of ids and entities could not be read or written.
    INDEX = 81, 503, "The index cannot be used";
    /// As many idempotency keys as are kept have been used within their window.
    IDEMPOTENCY_KEYS = 82, 429, "Too many idempotency keys";
    /// The rollout has ended, or has come too far for this.
    ROLLOUT_STATE = 95, 409, "The rollout's state does not allow this";
    /// The environment to promote from does not run the package.
    NOT_PROMOTED = 96, 409, "The package does not run where it is promoted from";
    /// A release's name is not one, or is taken.
    RELEASE_NAME = 97, 422, "The release's name is wrong";
    /// A shield's order is wrong.
    SHIELD = 105, 422, "The shield is wrong";
    /// As many shields as may be are in force.
    SHIELDS = 106, 409, "Too many shields";
    /// The numbers of instances are wrong.
    SCALE = 107, 422, "The numbers of instances are wrong";
    /// The join token is used up or has expired.
    JOIN_TOKEN = 108, 401, "The join token is not good any more";
    /// A live node has this name.
    NODE_TAKEN = 109, 409, "A live node has this name";
    /// The node was given up.
    NODE_KILLED = 110, 409, "The node was given up";
    /// A request was held back on an order for as long as it may be.
    HELD_TOO_LONG = 113, 504, "The request was held back too long";
    /// The service is in maintenance.
    MAINTENANCE = 114, 503, "The service is in maintenance";
    /// A client made more requests than the route allows.
    TOO_MANY_REQUESTS = 115, 429, "Too many requests";
    /// A request's body is larger than is passed on.
    BODY_TOO_LARGE = 116, 413, "The request's body is too large";
    /// The router on disk did not become ready, or there is none to ask.
    ROUTER_UPGRADE = 117, 503, "The router was not upgraded";
    /// A certificate cannot be used.
    CERTIFICATE = 118, 503, "A certificate cannot be used";
    /// The subscription names no endpoint, so that there is nothing to sign.
    NO_SINK = 120, 409, "The subscription has no endpoint";
    /// A node that lives is the last that takes instances.
    LAST_NODE = 125, 409, "The last node is not given up";
    /// The node's token is good no more.
    NODE_TOKEN = 126, 401, "The node's token is good no more";
    /// Another person did something to the issue in between.
    ISSUE_CHANGED = 140, 409, "Somebody was quicker";
    /// The issue cannot just be over while its condition holds.
    ISSUE_HOLDS = 141, 409, "The issue's condition still holds";
    /// Children of the issue are open.
    ISSUE_CHILDREN = 142, 409, "Issues that it explains are open";
    /// The action is not offered now, or was done already.
    ACTION_REFUSED = 143, 409, "The action cannot be done now";
    /// Somebody stopped all actions.
    ACTIONS_PAUSED = 144, 409, "All actions are paused";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_unique() {
        assert!(CODES.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(code::NO_TOKEN.name(), "HOB-0003");
    }
}
