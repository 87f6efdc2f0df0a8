using System.Globalization;
using Npgsql;

namespace SafePool.Options;

/// <summary>What a connection string says about hosts, read as Npgsql reads it.</summary>
/// <param name="Names">In the order of the string; one at least.</param>
/// <param name="Target"><c>Target Session Attributes</c>; with several hosts <c>PGTARGETSESSIONATTRS</c> says it when the string does not.</param>
/// <param name="IsBalanced"><c>Load Balance Hosts</c>.</param>
/// <param name="Recheck"><c>Host Recheck Seconds</c>, 10 by default.</param>
internal sealed record HostList(IReadOnlyList<HostName> Names, TargetSessionAttributes Target, bool IsBalanced, TimeSpan Recheck)
{
    private const string TargetVariable = "PGTARGETSESSIONATTRS";

    private static readonly string[] _keywords = ["Target Session Attributes", "Load Balance Hosts", "Host Recheck Seconds"];

    public static HostList Read(NpgsqlConnectionStringBuilder builder, Faults faults)
    {
        var hosts = builder.Host?.Split(',', StringSplitOptions.TrimEntries) ?? [];
        IReadOnlyList<HostName> names = hosts.Length > 1
            ? [.. hosts.Select(host => ReadHost(host, builder.Port, faults))]
            : [new HostName(builder.Host, builder.Port)];
        return new HostList(
            names,
            ReadTarget(builder, isSeveral: names.Count > 1, faults),
            names.Count > 1 && builder.LoadBalanceHosts,
            TimeSpan.FromSeconds(builder.HostRecheckSeconds));
    }

    /// <summary>Makes the string one of the first host alone, which Npgsql chooses nothing from.</summary>
    public void LeadToFirst(NpgsqlConnectionStringBuilder builder)
    {
        foreach (var keyword in _keywords)
        {
            builder.Remove(keyword);
        }

        if (Names.Count > 1)
        {
            (builder.Host, builder.Port) = (Names[0].Name, Names[0].Port);
        }
    }

    private static HostName ReadHost(string host, int port, Faults faults)
    {
        if (host.Length == 0)
        {
            faults.Add("Host in the connection string has an empty entry: 'a,b' without a comma too many.");
            return new HostName(host, port);
        }

        // The last colon, unless it is a part of an IPv6 address: that has several, or stands in brackets.
        var colon = host.LastIndexOf(':');
        var bracket = host.LastIndexOf(']');
        var other = colon < 0 ? -1 : host.AsSpan(0, colon).LastIndexOf(':');
        if (colon < 0 || !(other == -1 || (colon > bracket && other < bracket)))
        {
            return new HostName(host, port);
        }

        if (!int.TryParse(host.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out port) || port is 0 or > ushort.MaxValue)
        {
            faults.Add("Host in the connection string has an entry whose port is no number from 1 to 65535: 'a:5432,b:5433'.");
        }

        return new HostName(host[..colon], port);
    }

    private static TargetSessionAttributes ReadTarget(NpgsqlConnectionStringBuilder builder, bool isSeveral, Faults faults)
    {
        var said = builder.TargetSessionAttributes ?? (isSeveral ? Environment.GetEnvironmentVariable(TargetVariable) : null);
        try
        {
            // Npgsql's own parser.
            return new NpgsqlConnectionStringBuilder { TargetSessionAttributes = said?.ToLowerInvariant() }.TargetSessionAttributes switch
            {
                "primary" => TargetSessionAttributes.Primary,
                "standby" => TargetSessionAttributes.Standby,
                "prefer-primary" => TargetSessionAttributes.PreferPrimary,
                "prefer-standby" => TargetSessionAttributes.PreferStandby,
                "read-write" => TargetSessionAttributes.ReadWrite,
                "read-only" => TargetSessionAttributes.ReadOnly,
                _ => TargetSessionAttributes.Any,
            };
        }
        catch (ArgumentException)
        {
            faults.Add($"The environment variable {TargetVariable} is '{said}'. Say any, primary, standby, prefer-primary, prefer-standby, read-write or read-only.");
            return TargetSessionAttributes.Any;
        }
    }
}
