using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Mono.Cecil;
using Xunit;

namespace SafePool.Tests.House;

/// <summary>The rooms of <c>src/SafePool</c> are its folders. Each names only types of rooms that stand below it.</summary>
public sealed partial class LayeringTests
{
    private const string Root = "(root)";

    /// <summary>From top to bottom.</summary>
    private static readonly string[] _rooms =
    [
        Root, // The pool that a user holds, and its composition.
        "Renting", // A rent that is not served at once; drop-ins and governed connections.
        "Maintenance", // The steps of the maintenance loop.
        "Leaks", // Overdue, dropped and abandoned leases.
        "Operations", // The server's figures, and terminations.
        "Diagnostics", // Facts and verdicts; holders; what the server says of them.
        "Lifecycle", // Ties gate, leases and driver: open, close, return, retire, enlist, watch.
        "Breaker", // The circuit, the server's capacity, the exhaustion trip.
        "Leases", // Slot, handle, ledger, flight recorder.
        "Driver", // All of Npgsql.
        "Telemetry", // Meters and spans.
        "Logging", // Messages of the log.
        "Errors", // Exception types.
        "Options", // Options, settings, validation.
        "Admission", // Gate and queue.
        "Reports", // Facts for users, and the sentences about them.
        "Time", // Clocks, and threads of the pool's own.
    ];

    private static readonly string[] _partTakers =
        ["Renting", "Maintenance", "Leaks", "Operations", "Diagnostics", "Lifecycle", "Leases", "Telemetry", "Time"];

    /// <summary>What is not so yet: who names which type above it. This list may only become shorter.</summary>
    private static readonly (string From, string Type)[] _exceptions =
    [
        // The parts of a pool are handed around as one object; each class is to take what it uses.
        .. _partTakers.Select(room => (room, nameof(PoolParts))),

        // A lease, a place and the loop lead back to the pool, for its returns and its tick.
        ("Leases", nameof(ConnectionPool)), ("Renting", nameof(ConnectionPool)), ("Time", nameof(ConnectionPool)), ("Leases", "Refusals"),

        // Telemetry reads the counts of a pool by itself, instead of being handed them.
        ("Telemetry", "CircuitBreaker"), ("Telemetry", "LeakReports"), ("Telemetry", "LeaseLedger"), ("Telemetry", "PeakUse"), ("Telemetry", "Refusal"),

        // What a command of the pool's own is: a filter of users' telemetry asks.
        ("Telemetry", "Housekeeping"),

        // The loop asks whether anybody waits, who keeps the pool.
        ("Time", "AdmissionGate"), ("Time", "GateCounts"),

        // A helper or a record that stands in the wrong room.
        ("Driver", "CommandFailures"), ("Diagnostics", "LeakReports"), ("Lifecycle", "Holders"),
    ];

    [Fact]
    public void Rooms_NameOnlyWhatStandsBelowThem()
    {
        var rooms = RoomsOfTypes();
        using var assembly = AssemblyDefinition.ReadAssembly(typeof(ConnectionPool).Assembly.Location);
        var above = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var type in assembly.MainModule.GetTypes())
        {
            if (!rooms.TryGetValue(NameOf(type), out var from))
            {
                continue;
            }

            foreach (var named in TypesNamedBy(type).Select(NameOf))
            {
                if (rooms.TryGetValue(named, out var to) && Array.IndexOf(_rooms, to) < Array.IndexOf(_rooms, from))
                {
                    above.Add($"{from} names {named} of {to}");
                }
            }
        }

        var expected = _exceptions.Select(exception => $"{exception.From} names {exception.Type} of {rooms[exception.Type]}").Order(StringComparer.Ordinal);
        Assert.Equal(string.Join('\n', expected), string.Join('\n', above));
    }

    [Fact]
    public void Rooms_AreTheFolders()
        => Assert.Equal(_rooms.Order(StringComparer.Ordinal), RoomsOfTypes().Values.Distinct().Order(StringComparer.Ordinal));

    /// <summary>By the folder of its source file, since public types share one namespace.</summary>
    private static Dictionary<string, string> RoomsOfTypes()
    {
        var source = Source();
        var rooms = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var file in Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories))
        {
            var parts = Path.GetRelativePath(source, file).Split(Path.DirectorySeparatorChar);
            if (parts[0] is "obj" or "bin")
            {
                continue;
            }

            foreach (Match declared in TopLevelType().Matches(File.ReadAllText(file)))
            {
                rooms[declared.Groups[1].Value] = parts.Length == 1 ? Root : parts[0];
            }
        }

        return rooms;
    }

    private static IEnumerable<TypeReference> TypesNamedBy(TypeDefinition type)
    {
        IEnumerable<TypeReference?> named =
        [
            type.BaseType,
            .. type.Interfaces.Select(one => one.InterfaceType),
            .. type.Fields.Select(field => field.FieldType),
            .. type.Methods.SelectMany(TypesNamedBy),
        ];
        return named.OfType<TypeReference>().SelectMany(Parts);
    }

    private static IEnumerable<TypeReference?> TypesNamedBy(MethodDefinition method)
        => method.Parameters.Select(parameter => parameter.ParameterType)
            .Append(method.ReturnType)
            .Concat(method.HasBody ? method.Body.Variables.Select(variable => variable.VariableType) : [])
            .Concat(method.HasBody ? method.Body.Instructions.SelectMany(instruction => TypesNamedBy(instruction.Operand)) : []);

    private static IEnumerable<TypeReference?> TypesNamedBy(object? operand) => operand switch
    {
        TypeReference type => [type],
        FieldReference field => [field.DeclaringType, field.FieldType],
        GenericInstanceMethod method => [method.DeclaringType, method.ReturnType, .. method.GenericArguments],
        MethodReference method => [method.DeclaringType, method.ReturnType],
        _ => [],
    };

    private static IEnumerable<TypeReference> Parts(TypeReference type) => type switch
    {
        GenericInstanceType generic => generic.GenericArguments.Prepend(generic.ElementType).SelectMany(Parts),
        TypeSpecification specification => Parts(specification.ElementType),
        _ => [type],
    };

    /// <summary>Of the outermost type, as its source file has it.</summary>
    private static string NameOf(TypeReference type)
    {
        while (type.DeclaringType is { } outer)
        {
            type = outer;
        }

        return type.Namespace.StartsWith("SafePool", StringComparison.Ordinal) ? type.Name.Split('`')[0] : "";
    }

    private static string Source([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "src", "SafePool");

    [GeneratedRegex(@"^(?:public |internal |sealed |abstract |static |readonly |partial |ref |unsafe )*(?:record struct|record class|record|class|struct|interface|enum|delegate [\w<>?]+) (\w+)", RegexOptions.Multiline)]
    private static partial Regex TopLevelType();
}
