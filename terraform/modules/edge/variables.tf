variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the targets."
  type        = string
}

variable "subnet_ids" {
  description = "Public subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone of the host name."
  type        = string
}

variable "host_name" {
  description = "Host name of BASE_URL."
  type        = string
}

variable "longest_call_seconds" {
  description = "How long a task that is taken out of service may go on with its calls: the deregistration delay."
  type        = number

  validation {
    condition     = var.longest_call_seconds <= 3600
    error_message = "A target group keeps a target no longer than 3600 seconds."
  }
}

variable "access_logs_bucket" {
  description = "S3 bucket for the load balancer's access logs; null: none are written."
  type        = string
}

variable "protect" {
  description = "Whether the load balancer cannot be deleted."
  type        = bool
}
