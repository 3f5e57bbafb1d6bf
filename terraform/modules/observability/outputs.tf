output "log_groups" {
  description = "Log groups by what writes there."
  value       = { for kind, group in aws_cloudwatch_log_group.this : kind => { name = group.name, arn = group.arn } }
}

output "log_days" {
  description = "Days that each log group keeps, for tests."
  value       = { for kind, group in aws_cloudwatch_log_group.this : kind => group.retention_in_days }
}

output "alarms" {
  description = "Alarms, with what each watches, for tests."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => { metric = alarm.metric_name, notifies = length(alarm.alarm_actions) > 0, says = alarm.alarm_description } }
}
