using System.Reflection;
using System.Runtime.CompilerServices;

namespace SafePool.Tests;

/// <summary>Writes what an assembly offers to its users: a line for every public type and member, sorted.</summary>
internal static class PublicSurface
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<Type, string> _keywords = new()
    {
        [typeof(void)] = "void",
        [typeof(bool)] = "bool",
        [typeof(int)] = "int",
        [typeof(long)] = "long",
        [typeof(double)] = "double",
        [typeof(string)] = "string",
        [typeof(object)] = "object",
    };

    private static readonly NullabilityInfoContext _nullability = new();

    public static IReadOnlyList<string> Of(Assembly assembly)
    {
        var lines = new List<string>();
        foreach (var type in assembly.GetExportedTypes())
        {
            lines.Add(Describe(type));
            lines.AddRange(type.GetMembers(Declared).Select(member => Describe(type, member)).OfType<string>());
        }

        lines.Sort(StringComparer.Ordinal);
        return lines;
    }

    private static string Describe(Type type)
    {
        var kind = type switch
        {
            { IsInterface: true } => "interface",
            { IsEnum: true } => "enum",
            { IsValueType: true } => IsReadOnly(type) ? "readonly struct" : "struct",
            { IsAbstract: true, IsSealed: true } => "static class",
            { IsAbstract: true } => "abstract class",
            { IsSealed: true } => "sealed class",
            _ => "class",
        };
        var bases = new[] { type.BaseType }.Where(one => one is not null && one != typeof(object) && one != typeof(ValueType) && one != typeof(Enum))
            .Concat(type.GetInterfaces().Except(type.BaseType?.GetInterfaces() ?? []).OrderBy(one => one.Name, StringComparer.Ordinal))
            .Select(one => NameOf(one!));
        var inherits = type.IsEnum ? "" : string.Join(", ", bases);
        return $"{NameOf(type)} : {kind}{(inherits.Length > 0 ? $" : {inherits}" : "")}";
    }

    private static string? Describe(Type type, MemberInfo member) => member switch
    {
        FieldInfo { IsLiteral: true } value => $"{NameOf(type)}.{value.Name} = {value.GetRawConstantValue()}",
        FieldInfo { IsPublic: true, IsSpecialName: false } field => $"{NameOf(type)}.{field.Name} : {NameOf(_nullability.Create(field), field.FieldType)}",
        PropertyInfo property when IsVisible(property.GetMethod) => $"{NameOf(type)}.{property.Name} : {Describe(property)}",
        EventInfo happening when IsVisible(happening.AddMethod) => $"{NameOf(type)}.{happening.Name} : event {NameOf(happening.EventHandlerType!)}",
        ConstructorInfo made when IsVisible(made) => $"{NameOf(type)}.new({Parameters(made)})",
        MethodInfo method when IsVisible(method) && (!method.IsSpecialName || method.Name.StartsWith("op_", StringComparison.Ordinal)) && !IsGenerated(method)
            => $"{NameOf(type)}.{method.Name}({Parameters(method)}) : {NameOf(_nullability.Create(method.ReturnParameter), method.ReturnType)}{Modifiers(method)}",
        _ => null,
    };

    private static string Describe(PropertyInfo property)
    {
        var setter = property.SetMethod;
        var set = !IsVisible(setter) ? "" : setter!.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)) ? " init;" : " set;";
        var required = property.IsDefined(typeof(RequiredMemberAttribute)) ? "required " : "";
        return $"{required}{NameOf(_nullability.Create(property), property.PropertyType)} {{ get;{set} }}{Modifiers(property.GetMethod!)}";
    }

    private static string Modifiers(MethodInfo method)
        => (method.IsStatic ? " static" : "") + (method.IsAbstract && !method.DeclaringType!.IsInterface ? " abstract" : "");

    private static string Parameters(MethodBase method) => string.Join(", ", method.GetParameters().Select(parameter =>
    {
        var type = parameter.IsOut ? $"out {NameOf(parameter.ParameterType.GetElementType()!)}" : NameOf(_nullability.Create(parameter), parameter.ParameterType);
        var caller = parameter.IsDefined(typeof(CallerMemberNameAttribute)) || parameter.IsDefined(typeof(CallerFilePathAttribute))
            || parameter.IsDefined(typeof(CallerLineNumberAttribute)) ? "[caller] " : "";
        return $"{caller}{type} {parameter.Name}{(parameter.HasDefaultValue ? $" = {ValueOf(parameter.RawDefaultValue)}" : "")}";
    }));

    private static string ValueOf(object? value) => value switch
    {
        null => "default",
        string text => $"\"{text}\"",
        bool truth => truth ? "true" : "false",
        _ => Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture)!,
    };

    // What the compiler writes for records is no decision of ours.
    private static bool IsGenerated(MethodInfo method)
        => method.IsDefined(typeof(CompilerGeneratedAttribute)) || method.Name.Contains('<', StringComparison.Ordinal);

    private static bool IsVisible(MethodBase? method)
        => method is { IsPublic: true } or { IsFamily: true, Name: not "Finalize" } or { IsFamilyOrAssembly: true };

    private static bool IsReadOnly(Type type) => type.IsDefined(typeof(IsReadOnlyAttribute));

    private static string NameOf(NullabilityInfo nullability, Type type)
        => NameOf(type) + (nullability.ReadState == NullabilityState.Nullable && !type.IsValueType ? "?" : "");

    private static string NameOf(Type type)
    {
        if (Nullable.GetUnderlyingType(type) is { } underlying)
        {
            return NameOf(underlying) + "?";
        }

        if (_keywords.TryGetValue(type, out var keyword))
        {
            return keyword;
        }

        if (!type.IsGenericType)
        {
            return type.Name;
        }

        var name = type.Name[..type.Name.IndexOf('`', StringComparison.Ordinal)];
        return $"{name}<{string.Join(", ", type.GetGenericArguments().Select(NameOf))}>";
    }
}
