using Npgsql;

namespace SafePool.Driver.Hosts;

/// <summary>What roles mean for a target, and what they are called.</summary>
internal static class HostRoleWords
{
    /// <summary>As Npgsql judges it.</summary>
    public static HostFit FitFor(this HostRole role, TargetSessionAttributes target) => target switch
    {
        TargetSessionAttributes.Primary => OrWrong(role is HostRole.ReadWrite or HostRole.ReadOnly),
        TargetSessionAttributes.ReadWrite => OrWrong(role == HostRole.ReadWrite),
        TargetSessionAttributes.Standby => OrWrong(role == HostRole.Standby),
        TargetSessionAttributes.ReadOnly => OrWrong(role is HostRole.Standby or HostRole.ReadOnly),
        TargetSessionAttributes.PreferPrimary => role is HostRole.ReadWrite or HostRole.ReadOnly ? HostFit.Preferred : HostFit.Acceptable,
        TargetSessionAttributes.PreferStandby => role == HostRole.Standby ? HostFit.Preferred : HostFit.Acceptable,
        _ => HostFit.Preferred,
    };

    /// <summary>With its article.</summary>
    public static string Words(this HostRole role) => role switch
    {
        HostRole.ReadWrite => "a primary",
        HostRole.ReadOnly => "a read-only primary",
        HostRole.Standby => "a standby",
        _ => "of unknown role",
    };

    /// <summary>As in a connection string.</summary>
    public static string Words(this TargetSessionAttributes target) => target switch
    {
        TargetSessionAttributes.PreferPrimary => "prefer-primary",
        TargetSessionAttributes.PreferStandby => "prefer-standby",
        TargetSessionAttributes.ReadWrite => "read-write",
        TargetSessionAttributes.ReadOnly => "read-only",
        TargetSessionAttributes.Primary => "primary",
        TargetSessionAttributes.Standby => "standby",
        _ => "any",
    };

    private static HostFit OrWrong(bool fits) => fits ? HostFit.Preferred : HostFit.Wrong;
}
