variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "active" {
  description = "Whether tasks run; otherwise services and task definitions wait, with no task."
  type        = bool
}

variable "image" {
  description = "Image of all tasks, by digest."
  type        = string
}

variable "repository_arn" {
  description = "ECR repository that the tasks pull from."
  type        = string
}

variable "environment" {
  description = "Environment variables of all tasks; nothing secret."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables of all tasks that ECS reads from Secrets Manager: name to valueFrom."
  type        = map(string)
}

variable "secret_arn" {
  description = "The secret that ECS may read."
  type        = string
}

variable "log_groups" {
  description = "Log groups by task: app, worker, migrate."
  type        = map(object({ name = string, arn = string }))
}

variable "subnet_ids" {
  description = "Subnets of the tasks."
  type        = list(string)
}

variable "public_ip" {
  description = "Whether tasks have a public address, to reach Twilio and Gemini without a NAT gateway; nothing can connect to it."
  type        = bool
}

variable "security_group_ids" {
  description = "Security groups: app, worker."
  type        = map(string)
}

variable "target_group_arn" {
  description = "Target group of the app."
  type        = string
}

variable "size" {
  description = "CPU units and MB of memory of a task of each kind: app, worker, migrate."
  type        = map(object({ cpu = number, memory = number }))
}

variable "app_tasks" {
  description = "Fewest and most tasks that carry calls."
  type        = object({ min = number, max = number })
}

variable "worker_tasks" {
  description = "Tasks that run workflows; 0 without Temporal."
  type        = number
}

variable "worker_on_spot" {
  description = "Whether workers run on Fargate Spot; they carry no calls, and a task that is taken away is repeated by Temporal."
  type        = bool
}

variable "calls_per_task" {
  description = "MAX_CONCURRENT_CALLS of a task."
  type        = number
}

variable "occupied_percent" {
  description = "Share of all places that autoscaling aims at; the rest is what may come before a new task is there."
  type        = number
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the app's metrics."
  type        = string
}
