# Log groups, alarms by mail, and one dashboard.

locals {
  kinds = toset(["app", "worker", "migrate", "temporal"])
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.kinds
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
}

# The app writes CRITICAL when only a new process can go on.
resource "aws_cloudwatch_log_metric_filter" "critical" {
  for_each       = toset(["app", "worker"])
  name           = "${var.name}-${each.key}-critical"
  log_group_name = aws_cloudwatch_log_group.this[each.key].name
  pattern        = "{ $.level = \"CRITICAL\" }"

  metric_transformation {
    namespace = var.metrics_namespace
    name      = "CriticalLines"
    value     = "1"
  }
}

# Not encrypted by AWS's own key: CloudWatch may not use that, and its alarms would be lost. They say
# nothing of calls.
resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = var.alarm_emails
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}
