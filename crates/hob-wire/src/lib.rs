//! Every shape that leaves a Hob process: descriptors, events, API bodies, links, problems.
//!
//! Whatever is written to a socket or a file that somebody else reads is defined here, and nowhere else; each shape is
//! a promise. Nothing here does I/O.

mod access;
mod action;
mod backtest;
mod board;
pub mod cloudevents;
mod declarations;
mod descriptor;
mod desk;
mod entity;
mod event;
mod flaw;
mod fleet;
mod hal;
pub mod incoming;
mod instance;
mod issue;
mod issue_command;
mod live;
mod network;
mod node;
mod observation;
mod package;
mod platform;
mod problem;
mod proxy_status;
mod record;
mod release;
mod routing;
mod sample;
mod subscription;
mod summary;
mod topic;
pub mod webhook;
pub mod yaml;

pub use access::{AccessRecord, Role};
pub use action::{Action, ActionMode, ActionState, ActionsState, Offer, Paused};
pub use backtest::{Backtest, NewBacktest, RuleTrial, Sample as BacktestSample};
pub use board::{
    Applied, Checked, EventLogState, Figure, Figures, Me, MetricName, NewRollback, NewRollout, OpenedOn,
    Reason, Rule, RuleText, SequenceRange, Standing, Status, Stored,
};
pub use cloudevents::{Extension, base64_text};
pub use declarations::{Change, Declarations, FileText};
pub use descriptor::{
    Check, Drain, Gate, Health, Isolation, Kind, PackageSpec, Process, ReleaseTerms, Resources, Retry,
    RouteLimit, RouteSpec, Sandbox, Scale, Service, Startup, StepTerms, Stop, StopSignal, Strategy,
    TopicSpec, Warmup, When, Window,
};
pub use desk::{EntityState, IssueDay, Moment, OutcomeShare, Place, Spread, WatchedEntity};
pub use entity::Entity;
pub use event::{Change as EventChange, Draft, Event, Notice, Published, sequence_text};
pub use flaw::Flaw;
pub use fleet::{
    JoinToken, NewJoinToken, NewShield, NodePatch, NodeState, NodeSummary, ProcessScale, RouteSummary,
    RouterSummary, ScaleOrder, ScaleState, ShieldState,
};
pub use hal::{Hal, Link, Links, Page};
pub use incoming::{EventFlaw, Incoming, Payload, Unread};
pub use instance::{Instance, InstanceState};
pub use issue::{Evidence, Issue, IssueState, Member, Members, Snooze, Term, Transition};
pub use issue_command::{
    AcknowledgeIssue, ActOnIssue, AssignIssue, LabelIssue, MergeIssue, NoteIssue, ResolveAs, ResolveIssue,
    SnoozeIssue,
};
pub use live::{FromClient, ToClient};
pub use network::{BadNetwork, Network};
pub use node::{
    Confinement, InstanceReport, Intended, IntendedInstance, JoinAnswer, JoinRequest, NodeFacts, NodeReport,
    Shot, Usage,
};
pub use observation::{Condition, Observation};
pub use package::{
    Manifest, PACKAGE_FILES_MAX, PACKAGE_LINK_BYTES_MAX, PACKAGE_MANIFEST_BYTES_MAX, PACKAGE_PATH_BYTES_MAX,
    PACKAGE_UNPACKED_BYTES_MAX, PackagedFile,
};
pub use platform::Platform;
pub use problem::{ErrorItem, Problem};
pub use proxy_status::{PROXY_STATUS, is_gateways_own, proxy_status};
pub use record::{Level, Record, RecordBatch, RecordIn, RecordSource};
pub use release::{
    Evidence as GateEvidence, Release, ReleaseName, ReleaseState, Rollout, RolloutPatch, RolloutState,
    RolloutStep, Verdict, Wanted,
};
pub use routing::{
    Ejection, InstanceTraffic, Limited, Pool, Route, RouterReport, RoutingSnapshot, Share, Shield,
    ShieldKind, SlowStart, Target,
};
pub use sample::{Datagram, Point, SampleBatch, Series};
pub use subscription::{
    Ack, Batch, BreakerState, Collapse, CursorAt, DeadLetter, DeadLetterChoice, DeliveryError, DeliveryOrder,
    DeliverySpec, FilterSpec, LeaseWish, Nack, OnPoison, PushFormat, Seek, Stall, SubscriptionPatch,
    SubscriptionSpec, SubscriptionState, Touched, WantedState,
};
pub use summary::{ServiceState, ServiceSummary};
pub use topic::{AckMode, Quota, Retention, Topic, TopicKind, TopicTerms};
