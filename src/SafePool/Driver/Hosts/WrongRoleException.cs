using Npgsql;
using SafePool.Driver.Control;
using SafePool.Options;

namespace SafePool.Driver.Hosts;

/// <summary>A server let a session in, and is not what <c>Target Session Attributes</c> asks for. Waiting cures it: a promotion, or a name that moves.</summary>
internal sealed class WrongRoleException(HostName host, HostRole role) : NpgsqlException($"{host} is {role.Words()}")
{
    public HostRole Role { get; } = role;
}
