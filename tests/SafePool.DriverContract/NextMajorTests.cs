using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.CompilerServices;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>
/// What the next major version of Npgsql takes away is bound nowhere: whoever gets it by another package still has a pool. Bound, a member that is gone ends in
/// <see cref="MissingMethodException"/> where nobody expects it.
/// </summary>
public sealed class NextMajorTests
{
    private const string ListFile = "RemovedByNpgsql11.txt";

    /// <summary>The libraries that ship, and the test kit's server, which a user's tests may take along.</summary>
    public static TheoryData<string> Libraries => ["SafePool.dll", "SafePool.EntityFrameworkCore.dll"];

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Library_BindsNothingThatNpgsql11Removes(string library)
    {
        var bound = BoundMembers(Path.Combine(AppContext.BaseDirectory, library));

        Assert.NotEmpty(bound);
        Assert.Empty(bound.Intersect(Removed()).Order(StringComparer.Ordinal));
    }

    /// <summary>The test's own eyes: this very assembly binds what it says here, so the scan sees members and types of Npgsql.</summary>
    [Fact]
    public void Scan_OfThisAssembly_SeesWhatItBinds()
    {
        var bound = BoundMembers(typeof(NextMajorTests).Assembly.Location);

        Assert.Contains("Npgsql.NpgsqlConnection.get_PostgresParameters", bound);
        Assert.Contains("Npgsql.NpgsqlConnectionStringBuilder.set_MinPoolSize", bound);
        Assert.Contains("Npgsql.NpgsqlOperationInProgressException", bound);
        Assert.DoesNotContain("Npgsql.NpgsqlConnectionStringBuilder.get_Multiplexing", bound);
    }

    private static HashSet<string> Removed([CallerFilePath] string here = "")
        => File.ReadLines(Path.Combine(Path.GetDirectoryName(here)!, ListFile))
            .Where(line => line.Length > 0 && line[0] != '#')
            .ToHashSet(StringComparer.Ordinal);

    /// <summary>Types, and members as "Type.Member", that the compiled code of a library refers to in any assembly whose name begins with Npgsql.</summary>
    private static HashSet<string> BoundMembers(string path)
    {
        using var file = new PEReader(File.OpenRead(path));
        var metadata = file.GetMetadataReader();
        var found = new HashSet<string>(StringComparer.Ordinal);
        foreach (var handle in metadata.TypeReferences)
        {
            if (NameOf(metadata, handle) is { } type)
            {
                found.Add(type);
            }
        }

        foreach (var handle in metadata.MemberReferences)
        {
            var member = metadata.GetMemberReference(handle);
            if (member.Parent.Kind == HandleKind.TypeReference && NameOf(metadata, (TypeReferenceHandle)member.Parent) is { } type)
            {
                found.Add($"{type}.{metadata.GetString(member.Name)}");
            }
        }

        return found;
    }

    private static string? NameOf(MetadataReader metadata, TypeReferenceHandle handle)
    {
        var type = metadata.GetTypeReference(handle);
        if (type.ResolutionScope.Kind != HandleKind.AssemblyReference)
        {
            return null;
        }

        var assembly = metadata.GetAssemblyReference((AssemblyReferenceHandle)type.ResolutionScope);
        return metadata.GetString(assembly.Name).StartsWith("Npgsql", StringComparison.Ordinal)
            ? $"{metadata.GetString(type.Namespace)}.{metadata.GetString(type.Name)}"
            : null;
    }
}
