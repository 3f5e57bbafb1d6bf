variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, a /16."
  type        = string
}

variable "availability_zones" {
  description = "Zones to spread over; at least two, for the load balancer and the database."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2
    error_message = "The load balancer and the database need at least two zones."
  }
}

variable "nat_gateway" {
  description = "Whether tasks run in private subnets behind one NAT gateway, instead of in public subnets behind closed security groups."
  type        = bool
}

variable "temporal" {
  description = "Where Temporal is: cloud, self_hosted or none. Opens its port between the tasks and it."
  type        = string
}
