variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "mode" {
  description = "cloud: Temporal Cloud. self_hosted: a Temporal server on Fargate, in the same database. none: each app task keeps the life of its calls itself."
  type        = string

  validation {
    condition     = contains(["cloud", "self_hosted", "none"], var.mode)
    error_message = "Temporal is cloud, self_hosted or none."
  }
}

variable "active" {
  description = "Whether this region takes calls; otherwise no server runs."
  type        = bool
}

variable "cloud" {
  description = "Temporal Cloud: address (host:7233) and namespace. null unless mode is cloud."
  type        = object({ address = string, namespace = string })
}

variable "server_image" {
  description = "Image of the self-hosted server."
  type        = string
}

variable "admin_image" {
  description = "Image of the self-hosted server's schema tools, of the same version."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the self-hosted server's name."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the self-hosted server."
  type        = list(string)
}

variable "public_ip" {
  description = "Whether the self-hosted server has a public address, to pull its image; nothing can connect to it."
  type        = bool
}

variable "security_group_id" {
  description = "Security group of the self-hosted server; null otherwise."
  type        = string
}

variable "cluster_arn" {
  description = "Cluster that the self-hosted server runs in."
  type        = string
}

variable "execution_role_arn" {
  description = "Role that ECS starts its tasks with."
  type        = string
}

variable "database_host" {
  description = "Host of PostgreSQL, where the self-hosted server has two databases of its own."
  type        = string
}

variable "password_from" {
  description = "valueFrom of PostgreSQL's password."
  type        = string
}

variable "log_group" {
  description = "Log group of the self-hosted server."
  type        = string
}
