variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "active" {
  description = "Whether this region takes calls; otherwise nothing that is missing raises an alarm."
  type        = bool
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to; each has to confirm once."
  type        = set(string)
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the app's metrics."
  type        = string
}

variable "cluster_name" {
  description = "ECS cluster."
  type        = string
}

variable "app_tasks_min" {
  description = "Tasks that carry calls, at least."
  type        = number
}

variable "load_balancer" {
  description = "Names of the load balancer and of its target group in CloudWatch."
  type        = object({ balancer = string, target_group = string })
}

variable "database_identifier" {
  description = "Name of PostgreSQL in CloudWatch."
  type        = string
}

variable "database_is_replica" {
  description = "Whether PostgreSQL follows another region's."
  type        = bool
}

variable "cache_id" {
  description = "Name of the Valkey node in CloudWatch; null when there is none."
  type        = string
}
