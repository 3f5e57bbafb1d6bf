"""Call lifecycle as a pure state machine: statuses, events, state and transition rules."""
