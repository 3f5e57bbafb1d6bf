# Tasks follow the calls that are live, not the processor: a call is mostly waiting, and a task that
# has no place left turns callers away at a quarter of its CPU. The app tells its live calls once a
# minute (server/observability/cloudwatch.py); the average is over all tasks.

resource "aws_appautoscaling_target" "app" {
  count              = var.active ? 1 : 0
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.app.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.app_tasks.min
  max_capacity       = var.app_tasks.max
}

resource "aws_appautoscaling_policy" "live_calls" {
  count              = var.active ? 1 : 0
  name               = "live-calls"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.app[0].service_namespace
  resource_id        = aws_appautoscaling_target.app[0].resource_id
  scalable_dimension = aws_appautoscaling_target.app[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.occupied_percent
    scale_out_cooldown = 60
    scale_in_cooldown  = 600

    customized_metric_specification {
      namespace   = var.metrics_namespace
      metric_name = "OccupiedPercent"
      statistic   = "Average"
      unit        = "Percent"

      dimensions {
        name  = "Service"
        value = "app"
      }
    }
  }
}
