# What a person has to know of, each with the first thing to look at in its description.

locals {
  app      = { Service = "app" }
  balancer = { LoadBalancer = var.load_balancer.balancer, TargetGroup = var.load_balancer.target_group }
  database = { DBInstanceIdentifier = var.database_identifier }

  while_active = {
    "no-healthy-task" = {
      says      = "Fewer healthy app tasks than the minimum: calls may be refused. Look at the app's log, and at the service's events in ECS."
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.balancer
      statistic = "Minimum", when = "LessThanThreshold", threshold = var.app_tasks_min, minutes = 5, missing = "breaching"
    }
    "server-errors" = {
      says      = "The app answers 5xx: Twilio's webhooks may be lost (they are looked up later). Look at the app's log."
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.balancer
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 5, minutes = 5, missing = "notBreaching"
    }
    "lines-nearly-full" = {
      says      = "A task has 90 % of its places taken for 5 minutes: autoscaling is at its maximum, or too slow. Raise app_tasks.max."
      namespace = var.metrics_namespace, metric = "OccupiedPercent", dimensions = local.app
      statistic = "Maximum", when = "GreaterThanThreshold", threshold = 90, minutes = 5, missing = "breaching"
    }
    "callers-turned-away" = {
      says      = "Calls were turned away because all lines were busy. Raise app_tasks."
      namespace = var.metrics_namespace, metric = "CallsTurnedAway", dimensions = local.app
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 0, minutes = 1, missing = "notBreaching"
    }
    "calls-failed" = {
      says      = "Calls ended because of Gemini or of this system. Look at end_reason and error of the last calls: GET /calls."
      namespace = var.metrics_namespace, metric = "CallsFailed", dimensions = local.app
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 2, minutes = 5, missing = "notBreaching"
    }
    "no-model" = {
      says      = "Gemini sessions cannot be opened. Look at `model.refused` in the app's log: key, quota or an outage of Google's."
      namespace = var.metrics_namespace, metric = "ModelConnectsFailed", dimensions = local.app
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 5, minutes = 5, missing = "notBreaching"
    }
    "event-loop-late" = {
      says      = "Event loops were over 100 ms late, which callers may hear. The app's log names the function that blocked."
      namespace = var.metrics_namespace, metric = "LateLoopBeats", dimensions = local.app
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 20, minutes = 5, missing = "notBreaching"
    }
    "process-broken" = {
      says      = "A process ended because only a new one could go on. Look for CRITICAL in the logs."
      namespace = var.metrics_namespace, metric = "CriticalLines", dimensions = {}
      statistic = "Sum", when = "GreaterThanThreshold", threshold = 0, minutes = 1, missing = "notBreaching"
    }
    "cache-memory" = {
      says      = "Valkey is nearly full. Raise cache_class."
      namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = coalesce(var.cache_id, "none") }
      statistic = "Maximum", when = "GreaterThanThreshold", threshold = 80, minutes = 5, missing = "notBreaching"
    }
  }
  always = {
    "database-storage" = {
      says      = "PostgreSQL has less than 2 GB left, and did not grow by itself. Look at max_allocated_storage."
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.database
      statistic = "Minimum", when = "LessThanThreshold", threshold = 2e9, minutes = 5, missing = "breaching"
    }
    "database-cpu" = {
      says      = "PostgreSQL is busy for 15 minutes. Raise database_class."
      namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database
      statistic = "Average", when = "GreaterThanThreshold", threshold = 80, minutes = 15, missing = "breaching"
    }
  }
  of_replica = {
    "replica-late" = {
      says      = "The copy of PostgreSQL is 5 minutes behind: as much would be lost in a failover."
      namespace = "AWS/RDS", metric = "ReplicaLag", dimensions = local.database
      statistic = "Maximum", when = "GreaterThanThreshold", threshold = 300, minutes = 5, missing = "breaching"
    }
  }
  alarms = merge(
    local.always,
    { for name, alarm in local.while_active : name => alarm if var.active },
    { for name, alarm in local.of_replica : name => alarm if var.database_is_replica },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.when
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  # One late data point does not hide what lasts.
  datapoints_to_alarm = max(1, each.value.minutes - 1)
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
