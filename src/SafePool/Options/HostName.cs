using System.Globalization;
using Npgsql;

namespace SafePool.Options;

/// <summary>One of the hosts that a connection string may name.</summary>
internal sealed record HostName(string? Name, int Port)
{
    /// <summary>The one that an open connection leads to.</summary>
    public static HostName Of(NpgsqlConnection connection) => new(connection.Host, connection.Port);

    /// <summary>"db1:5432".</summary>
    /// <returns>Name and port.</returns>
    public override string ToString() => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{Name}:{Port}");
}
