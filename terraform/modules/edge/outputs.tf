output "base_url" {
  description = "BASE_URL of the tasks."
  value       = "https://${var.host_name}"
}

output "target_group_arn" {
  description = "Target group that the app's tasks join, once the listener forwards to it."
  value       = aws_lb_target_group.app.arn
  depends_on  = [aws_lb_listener.https]
}

output "load_balancer_suffix" {
  description = "Name of the load balancer in CloudWatch."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffix" {
  description = "Name of the target group in CloudWatch."
  value       = aws_lb_target_group.app.arn_suffix
}

output "listener" {
  description = "Port, protocol and TLS policy of the only listener, for tests."
  value       = { port = aws_lb_listener.https.port, protocol = aws_lb_listener.https.protocol, ssl_policy = aws_lb_listener.https.ssl_policy }
}

output "draining" {
  description = "How the target group treats tasks with calls, for tests."
  value = {
    seconds     = tonumber(aws_lb_target_group.app.deregistration_delay)
    algorithm   = aws_lb_target_group.app.load_balancing_algorithm_type
    health_path = aws_lb_target_group.app.health_check[0].path
  }
}
