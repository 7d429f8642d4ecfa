DROP FUNCTION plans_forget(bytea[]);
DROP TABLE usage_events, interrupts, run_logs, run_checkpoints, run_events, run_messages, run_tags, run_steps, runs, agent_labels, agent_versions,
  agents, agent_metadata, run_plans;
