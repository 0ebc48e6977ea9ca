//! Foreign telemetry at the border: pure decoders for statsd and log lines.
