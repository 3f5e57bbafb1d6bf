locals {
  region = data.aws_region.current.name
  widgets = [
    { title = "Live calls", stat = "Sum", metrics = [[var.metrics_namespace, "LiveCalls", "Service", "app"]] },
    { title = "Places taken (%)", stat = "Average", metrics = [[var.metrics_namespace, "OccupiedPercent", "Service", "app"], [".", ".", ".", ".", { stat = "Maximum" }]] },
    { title = "Calls a minute", stat = "Sum", metrics = [for name in ["CallsEnded", "CallsFailed", "CallsTurnedAway"] : [var.metrics_namespace, name, "Service", "app"]] },
    { title = "Gemini and the event loop", stat = "Sum", metrics = [for name in ["ModelConnectsFailed", "LateLoopBeats"] : [var.metrics_namespace, name, "Service", "app"]] },
    { title = "Tasks", stat = "Minimum", metrics = [["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", var.load_balancer.target_group, "LoadBalancer", var.load_balancer.balancer]] },
    { title = "CPU (%)", stat = "Average", metrics = concat([for service in ["app", "worker"] : ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", service]], [["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", var.database_identifier]]) },
    { title = "Answers of the app", stat = "Sum", metrics = [for class in ["2XX", "4XX", "5XX"] : ["AWS/ApplicationELB", "HTTPCode_Target_${class}_Count", "TargetGroup", var.load_balancer.target_group, "LoadBalancer", var.load_balancer.balancer]] },
    { title = "PostgreSQL: connections", stat = "Maximum", metrics = [["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", var.database_identifier]] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, widget in local.widgets : {
        type       = "metric"
        x          = 12 * (index % 2)
        y          = 6 * floor(index / 2)
        width      = 12
        height     = 6
        properties = merge(widget, { region = local.region, period = 60, view = "timeSeries" })
      }
    ]
  })
}
